"""The comparison after each cycle: core with the legacy system, device by device.

Owns what is recorded of it. It compares only while both systems collect, and never changes what
either of them shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from domain.parity import MAX_SAMPLES, ParityFinding, ParityVerdict, compare, count
from ports.parity import ParityCycle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.cutover import AfterCycle
    from actors.sides import BothSides, DevicePair
    from domain.cutover import Cutover
    from domain.model import SessionRef
    from ports.parity import ParityStore
    from runtime.clock import SharedClock

DEVICES_AT_ONCE: Final = 100  # between two of which other tasks run
# The order of samples: what no reader of core would see comes first.
WORST_FIRST: Final = (
    ParityVerdict.MISSING_HERE,
    ParityVerdict.OLDER,
    ParityVerdict.DIFFERENT,
    ParityVerdict.MISSING_THERE,
)

Found = tuple["DevicePair", ParityFinding]


class CompareStep:
    """actors.cutover.CutoverStep: records one comparison for each cycle in shadow."""

    name: Final = "compare"
    deadline_seconds: Final = 20.0

    def __init__(self, session: SessionRef, store: ParityStore, clock: SharedClock) -> None:
        self._session = session
        self._store = store
        self._clock = clock

    def concerns(self, flags: Cutover) -> bool:
        return flags.is_compared

    async def run(self, after: AfterCycle) -> bool:
        workspace, ended = after.stored.workspace, after.ended
        sides = await after.load_sides()
        found = await compare_sides(sides, workspace.poll_interval_seconds)
        cycle = ParityCycle(
            ended.slot_start_at,
            ended.cycle_id,
            self._clock.now(),
            count(finding for _, finding in found),
            pick_samples(found),
            sides.why,
        )
        return await self._store.record_parity(self._session, workspace.workspace_id, cycle)


async def compare_sides(sides: BothSides, interval: float) -> list[Found]:
    """Return the verdict on each device. Without an answer of the legacy system none can be."""
    found: list[Found] = []
    for place, pair in enumerate(sides.pairs):
        if place % DEVICES_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
        if sides.why is not None:
            found.append((pair, ParityFinding(ParityVerdict.INCOMPARABLE)))
        else:
            core = None if pair.core is None else pair.core.view
            found.append((pair, compare(core, pair.legacy, interval)))
    return found


def pick_samples(found: Sequence[Found]) -> list[Mapping[str, Any]]:
    """Return the worst mismatches, as they are recorded."""
    worst = [one for one in found if one[1].verdict in WORST_FIRST]
    worst.sort(key=lambda one: (WORST_FIRST.index(one[1].verdict), one[0].device_id))
    return [_describe(pair, finding) for pair, finding in worst[:MAX_SAMPLES]]


def _describe(pair: DevicePair, finding: ParityFinding) -> dict[str, Any]:
    return {
        "device_id": pair.device_id,
        "vehicle_id": None if pair.core is None else pair.core.vehicle_id,
        **finding._asdict(),
        "verdict": finding.verdict.value,
    }
