"""A cycle and a cursor for the tests of deferred submissions.

And how long a released lock may go unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import CursorAdvance
from domain.schedule import cycle_id
from tests.actors.harness import HARBOUR, STEADY
from tests.actors.instants import NOON, at

if TYPE_CHECKING:
    from tests.actors.harness import Harness

KEY = CycleKey(HARBOUR, NOON, CycleTrigger.SCHEDULE, 1)
CYCLE_ID = cycle_id(KEY)
ENOUGH_SECONDS = 3.0  # for a lock to be noticed, and later for its end


def advance(cursor: str) -> CursorAdvance:
    return CursorAdvance(HARBOUR, STEADY, cursor)


def end_of_cycle() -> CycleEnd:
    return CycleEnd(KEY, CYCLE_ID, at(10), CycleOutcome.COMPLETED, {})


async def cursor_of(harness: Harness) -> str | None:
    fleet = await harness.store.load_fleet(HARBOUR)
    assert fleet is not None
    return fleet.cursors.get(STEADY)
