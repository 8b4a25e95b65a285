"""The cutover of a workspace: its four migration flags, and which of them contradict.

The gate that a change to core reads must pass is in domain/parity_gate.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple


class RegistrySource(StrEnum):
    """Who says which devices there are."""

    LEGACY_SYNC = "legacy_sync"  # they are synchronised from the legacy system each cycle
    CORE = "core"


class PollOwner(StrEnum):
    """Who collects from the providers."""

    LEGACY = "legacy"  # cycles are skipped and streams closed; what clients send is accepted
    BOTH_SHADOW = "both_shadow"  # we collect and store, and the legacy system collects too
    CORE = "core"


class ReadOwner(StrEnum):
    """Whose values snapshots, health and issues show."""

    LEGACY = "legacy"
    CORE = "core"


class ProviderMode(StrEnum):
    """Which of the polled connections are asked."""

    LEGACY_PROVIDER = "legacy_provider"  # the real ones
    DEPOT_SIM = "depot_sim"  # those marked simulated
    MIXED = "mixed"  # both


@dataclass(frozen=True, slots=True)
class Cutover:
    """The four flags of a workspace. A new workspace is ours in all of them."""

    device_registry_source: RegistrySource = RegistrySource.CORE
    poll_owner: PollOwner = PollOwner.CORE
    read_owner: ReadOwner = ReadOwner.CORE
    provider_mode: ProviderMode = ProviderMode.LEGACY_PROVIDER

    @property
    def is_collecting(self) -> bool:
        """Return whether we ask providers and hold streams."""
        return self.poll_owner is not PollOwner.LEGACY

    @property
    def is_compared(self) -> bool:
        """Return whether both systems collect, so that their values can be compared."""
        return self.poll_owner is PollOwner.BOTH_SHADOW

    @property
    def needs_legacy(self) -> bool:
        """Return whether a flag asks something of the legacy system."""
        return (
            self.read_owner is ReadOwner.LEGACY
            or self.poll_owner is PollOwner.BOTH_SHADOW
            or self.device_registry_source is RegistrySource.LEGACY_SYNC
        )

    def asks(self, *, simulated: bool) -> bool:
        """Return whether the provider mode lets us ask a simulated, or a real, connection."""
        if self.provider_mode is ProviderMode.MIXED:
            return True
        return simulated == (self.provider_mode is ProviderMode.DEPOT_SIM)

    def asks_others_than(self, former: Cutover) -> bool:
        """Return whether other providers are asked under these flags than under the former."""
        return (self.is_collecting, self.provider_mode) != (
            former.is_collecting,
            former.provider_mode,
        )

    def rolled_back(self) -> Cutover:
        """Return the flags after a rollback: the legacy system collects, and is read."""
        return replace(self, poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)


NEW_CUTOVER: Final = Cutover()


class CutoverRefusal(NamedTuple):
    """A change of the flags that a rule forbids: the rule's name, and what to do instead."""

    rule: str  # read-without-poll | legacy-missing | parity-gate
    field: str
    detail: str


def refuse_flags(wanted: Cutover, *, has_legacy: bool) -> CutoverRefusal | None:
    """Return why these flags cannot stand together, whatever was before."""
    if wanted.read_owner is ReadOwner.CORE and wanted.poll_owner is PollOwner.LEGACY:
        return CutoverRefusal(
            "read-without-poll",
            "read_owner",
            "Core's values would grow old, because only the legacy system collects. Set poll_owner "
            "to both_shadow or core, or read_owner to legacy.",
        )
    if wanted.needs_legacy and not has_legacy:
        return CutoverRefusal(
            "legacy-missing",
            "legacy",
            "These flags ask the legacy system, and none is configured. Change the "
            "cutover: configure `legacy` together with them.",
        )
    return None
