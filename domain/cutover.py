"""The cutover of a workspace: its four migration flags, which of them contradict, and the gate.

Owns what a change of the flags needs. Pure: what parity counted comes from storage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.parity import pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.model import ProviderConnection
    from domain.parity import ParityCounts


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

    def asks(self, connection: ProviderConnection) -> bool:
        """Return whether the provider mode lets us ask this connection's provider."""
        if self.provider_mode is ProviderMode.MIXED:
            return True
        return connection.simulated == (self.provider_mode is ProviderMode.DEPOT_SIM)

    def rolled_back(self) -> Cutover:
        """Return the flags after a rollback: the legacy system collects, and is read."""
        return replace(self, poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)


NEW_CUTOVER: Final = Cutover()


class GateSettings(NamedTuple):
    """What the gate to core reads asks for: the settings of a workspace."""

    cycles: int = 12
    max_mismatch_share: float = 0.01
    min_comparable_share: float = 0.9


class GateView(NamedTuple):
    """What the gate saw. `is_open` says whether core may be read.

    `cycles` is how many of the newest cycles were compared, at most those that the gate asks for.
    `comparable_cycles` of them had enough comparable devices. `mismatch_share` is that of all of
    them together, None if nothing was comparable.
    """

    is_open: bool
    cycles: int
    comparable_cycles: int
    mismatch_share: float | None


class CutoverRefusal(NamedTuple):
    """A change of the flags that a rule forbids: the rule's name, and what to do instead."""

    rule: str  # read-without-poll | legacy-missing | parity-gate
    field: str
    detail: str


def view_gate(newest_first: Sequence[ParityCounts], gate: GateSettings) -> GateView:
    """Return whether the newest compared cycles open the gate.

    Each of them must have had enough comparable devices: a fleet that cannot be compared proves
    nothing. The mismatch is that of all of them together.
    """
    judged = newest_first[: gate.cycles]
    comparable = sum(counts.comparable_share >= gate.min_comparable_share for counts in judged)
    share = pool(judged).mismatch_share
    is_open = (
        len(judged) == comparable == gate.cycles
        and share is not None
        and share <= gate.max_mismatch_share
    )
    return GateView(is_open, len(judged), comparable, share)


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
            "These flags ask the legacy system, and none is configured. Configure `legacy` in the "
            "same request.",
        )
    return None


def passes_gate(stored: Cutover, wanted: Cutover) -> bool:
    """Return whether the change leads through the gate: from legacy reads to core reads."""
    return stored.read_owner is ReadOwner.LEGACY and wanted.read_owner is ReadOwner.CORE


def refuse_gate(view: GateView, gate: GateSettings) -> CutoverRefusal | None:
    """Return why the gate is shut, with the numbers."""
    if view.is_open:
        return None
    share = "unknown" if view.mismatch_share is None else f"{view.mismatch_share:.2%}"
    detail = (
        f"Core is read only after {gate.cycles} compared cycles, each with at least "
        f"{gate.min_comparable_share:.0%} comparable devices, and at most "
        f"{gate.max_mismatch_share:.0%} mismatch. There are {view.cycles} cycles, "
        f"{view.comparable_cycles} of them comparable; mismatch: {share}. Let both systems collect "
        "(poll_owner both_shadow) and look at …/cutover/parity, or send `force` with a reason."
    )
    return CutoverRefusal("parity-gate", "read_owner", detail)
