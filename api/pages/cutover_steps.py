"""The steps of a cutover in words: where a workspace stands, and what a change of a flag will do.

Follows docs/cutover.md. Owns sentences only: what may be changed, and when, is decided by the API.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from domain.cutover import PollOwner, ProviderMode, ReadOwner, RegistrySource

if TYPE_CHECKING:
    from collections.abc import Mapping


class Stand(StrEnum):
    DONE = "done"
    HERE = "here"
    AHEAD = "ahead"


class MigrationStep(NamedTuple):
    """One step of the way. `change`: the flags that lead to it; none: only the API leads there."""

    number: int
    title: str
    what: str
    change: Mapping[str, str]


class FlagChange(NamedTuple):
    """One flag that would change, and what that does."""

    flag: str
    before: str
    after: str
    effect: str


FLAG_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "poll_owner": "Who collects",
        "read_owner": "Whose values are shown",
        "device_registry_source": "Who says which devices there are",
        "provider_mode": "Which connections are asked",
    }
)
FLAG_VALUES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "poll_owner": tuple(PollOwner),
        "read_owner": tuple(ReadOwner),
        "device_registry_source": tuple(RegistrySource),
        "provider_mode": tuple(ProviderMode),
    }
)
VALUE_NAMES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("poll_owner", PollOwner.LEGACY): "the legacy system",
        ("poll_owner", PollOwner.BOTH_SHADOW): "both, compared",
        ("poll_owner", PollOwner.CORE): "Lastheard alone",
        ("read_owner", ReadOwner.LEGACY): "the legacy system's",
        ("read_owner", ReadOwner.CORE): "Lastheard's",
        ("device_registry_source", RegistrySource.LEGACY_SYNC): "the legacy registry",
        ("device_registry_source", RegistrySource.CORE): "Lastheard",
        ("provider_mode", ProviderMode.LEGACY_PROVIDER): "real ones",
        ("provider_mode", ProviderMode.DEPOT_SIM): "simulated ones",
        ("provider_mode", ProviderMode.MIXED): "real and simulated ones",
    }
)
_EFFECTS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("poll_owner", PollOwner.LEGACY): "We stop asking the providers: cycles are recorded as "
        "skipped, and streams are closed. What clients send is still accepted.",
        ("poll_owner", PollOwner.BOTH_SHADOW): "We ask the providers beside the legacy system, and "
        "compare both after each cycle. The vendor is asked twice: watch its quota.",
        ("poll_owner", PollOwner.CORE): "We alone collect. Afterwards switch collection off in the "
        "legacy system, but let it run. Its values grow old, so nothing is compared any more, and "
        "after a rollback reads show old values until it collects again.",
        ("read_owner", ReadOwner.LEGACY): "Snapshots, health, issues and the worklist show what "
        "the legacy system says. While it does not answer, reads are errors (502).",
        ("read_owner", ReadOwner.CORE): "Snapshots, health, issues and the worklist show what we "
        "collected. From now on the guardrails watch, and roll back by themselves.",
        (
            "device_registry_source",
            RegistrySource.LEGACY_SYNC,
        ): "After each cycle our devices are made as the legacy registry has them, also those that "
        "were changed here. Changing devices over the API is refused.",
        ("device_registry_source", RegistrySource.CORE): "Devices are changed here from now on. "
        "The legacy registry is not asked any more.",
        ("provider_mode", ProviderMode.LEGACY_PROVIDER): "Only real connections are asked; those "
        "marked simulated rest.",
        ("provider_mode", ProviderMode.DEPOT_SIM): "Only connections marked simulated are asked. "
        "No real vehicle brings news.",
        ("provider_mode", ProviderMode.MIXED): "Real and simulated connections are asked.",
    }
)
STEPS: Final = (
    MigrationStep(
        1,
        "Read through us",
        "The legacy system collects, and its values are shown here.",
        MappingProxyType({"poll_owner": PollOwner.LEGACY, "read_owner": ReadOwner.LEGACY}),
    ),
    MigrationStep(
        2,
        "Shadow",
        "Both systems collect and are compared. The legacy system is read.",
        MappingProxyType({"poll_owner": PollOwner.BOTH_SHADOW, "read_owner": ReadOwner.LEGACY}),
    ),
    MigrationStep(
        3,
        "Read core",
        "Our values are shown, and the guardrails watch. Both still collect.",
        MappingProxyType({"poll_owner": PollOwner.BOTH_SHADOW, "read_owner": ReadOwner.CORE}),
    ),
    MigrationStep(
        4,
        "Own the devices",
        "Devices are changed here, and no longer copied.",
        MappingProxyType({"device_registry_source": RegistrySource.CORE}),
    ),
    MigrationStep(
        5,
        "Collect alone",
        "The legacy system no longer collects. It still runs, for a rollback.",
        MappingProxyType({"poll_owner": PollOwner.CORE, "read_owner": ReadOwner.CORE}),
    ),
    MigrationStep(
        6,
        "Leave",
        "No legacy system is configured. There is no way back. This is done over the API.",
        MappingProxyType({}),
    ),
)
_OWN_DEVICES: Final = 4


def find_step(cutover: Mapping[str, Any]) -> int | None:
    """Return the number of the step at which a workspace is; None beside the way."""
    if cutover["legacy"] is None:
        return STEPS[-1].number
    owners = (cutover["poll_owner"], cutover["read_owner"])
    number = {
        (PollOwner.LEGACY, ReadOwner.LEGACY): 1,
        (PollOwner.BOTH_SHADOW, ReadOwner.LEGACY): 2,
        (PollOwner.BOTH_SHADOW, ReadOwner.CORE): 3,
        (PollOwner.CORE, ReadOwner.CORE): 5,
    }.get(owners)
    return _OWN_DEVICES if number == _OWN_DEVICES - 1 and _owns_devices(cutover) else number


def list_steps(cutover: Mapping[str, Any]) -> list[tuple[MigrationStep, Stand]]:
    """Return each step with how the workspace stands to it."""
    here = find_step(cutover)
    return [(step, _stand(step.number, here, cutover)) for step in STEPS]


def _stand(number: int, here: int | None, cutover: Mapping[str, Any]) -> Stand:
    if number == here:
        return Stand.HERE
    if number == _OWN_DEVICES:  # it may be taken at any time
        return Stand.DONE if _owns_devices(cutover) else Stand.AHEAD
    return Stand.DONE if here is not None and number < here else Stand.AHEAD


def _owns_devices(cutover: Mapping[str, Any]) -> bool:
    return bool(cutover["device_registry_source"] == RegistrySource.CORE)


def find_next(cutover: Mapping[str, Any]) -> MigrationStep | None:
    """Return the next step that a page can take; None at the end, or beside the way."""
    here = find_step(cutover)
    if here is None:
        return None
    ahead = (step for step in STEPS if step.number > here and step.change)
    return next((step for step in ahead if list_changes(cutover, step.change)), None)


def read_flags(given: Mapping[str, str]) -> dict[str, str]:
    """Return the flags that an address or a form names, with values that exist."""
    return {
        flag: given[flag] for flag, values in FLAG_VALUES.items() if given.get(flag, "") in values
    }


def list_changes(cutover: Mapping[str, Any], wanted: Mapping[str, str]) -> list[FlagChange]:
    """Return what would change, flag by flag."""
    return [
        FlagChange(flag, cutover[flag], value, _EFFECTS[flag, value])
        for flag, value in wanted.items()
        if cutover[flag] != value
    ]


def crosses_gate(cutover: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Return whether a change leads from legacy reads to core reads, which the gate judges."""
    after = wanted.get("read_owner", cutover["read_owner"])
    return bool(cutover["read_owner"] != after and after == ReadOwner.CORE)


def value_name(flag: str, value: str) -> str:
    """Return the value of a flag in words."""
    return VALUE_NAMES.get((flag, value), value)
