"""The scenarios of live pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ports.live import LiveQuery
from tests.isolation.fleets import OURS, THEIRS
from tests.isolation.scenario import drives

if TYPE_CHECKING:
    from ports.live import Mark
    from tests.isolation.fleets import Harness


# Theirs is of a newer slot, and was compared at another time.
COMPARED = [
    f"""
    INSERT INTO parity_cycles (workspace_id, slot_start_at, cycle_id, compared_at, equal,
                               missing_here, missing_there, older, different, incomparable, samples)
    VALUES ('{workspace}', '{day}', 'cycle', '{day}', 1, 0, 0, 0, 0, 0, '[]')
    """
    for workspace, day in ((OURS, "2099-01-01T00:00Z"), (THEIRS, "2099-01-02T00:00Z"))
]

OLDEST = 3  # before the first transaction: since then every row was written


@drives(
    *("list_threshold_classes", "page_by_device_counted", "page_written", "list_marks"),
    prepared=tuple(COMPARED),
)
async def follow_our_devices(harness: Harness) -> Any:
    """Ask as live pages do. `as_of` counts everybody's transactions, so it is left out."""
    live, ours = harness.stores.live, frozenset([OURS])
    first = await live.load_live(LiveQuery(ours, ours))
    later = LiveQuery(ours, ours, first.as_of, now=first.evaluated_at)
    every = await live.load_live(LiveQuery(ours, None, now=first.evaluated_at))
    written = await live.load_live(LiveQuery(ours, None, OLDEST, now=first.evaluated_at))
    return (
        first._replace(as_of=0),
        (await live.load_live(later))._replace(as_of=0),
        [(each.rows, each.counts[OURS]) for each in (every, written)],
        {name: _stated(mark) for name, mark in (await live.load_marks(ours)).items()},
    )


def _stated(mark: Mark) -> tuple[str, list[str]]:
    """Return a mark without when the cycle ended, which the two databases have of their own."""
    words = mark.cycles.split()
    return mark.configuration, words[:5] + words[-2:]
