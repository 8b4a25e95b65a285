"""The gate to core reads: which compared cycles a workspace must have behind it.

Pure: what parity counted comes from storage.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from domain.cutover import CutoverRefusal, ReadOwner
from domain.parity import pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from domain.cutover import Cutover
    from domain.parity import ParityCounts

MAX_WORST_DEVICES: Final = 20


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


class WorstDevice(NamedTuple):
    """A device that mismatched in judged cycles: in how many, by verdict, among their samples."""

    device_id: str
    vehicle_id: str | None
    by_verdict: Mapping[str, int]


def find_worst(samples: Iterable[Mapping[str, Any]]) -> list[WorstDevice]:
    """Return the devices that the samples of several cycles name most often, worst first."""
    found: dict[str, Counter[str]] = {}
    vehicles: dict[str, str | None] = {}
    for sample in samples:
        device_id = sample["device_id"]
        found.setdefault(device_id, Counter())[sample["verdict"]] += 1
        vehicles.setdefault(device_id, sample.get("vehicle_id"))
    worst_first = sorted(found, key=lambda device_id: (-found[device_id].total(), device_id))
    return [
        WorstDevice(device_id, vehicles[device_id], dict(found[device_id]))
        for device_id in worst_first[:MAX_WORST_DEVICES]
    ]


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
