"""A workspace actor at work, and the story that its cycles tell."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from domain import schedule
from domain.schedule import Place
from tests.actors.harness import HARBOUR
from tests.actors.instants import INTERVAL, at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from actors.fleet import FleetView
    from actors.workspace import WorkspaceActor
    from ports.reads import CycleRow
    from tests.actors.harness import Harness, Shard

SLOT = timedelta(seconds=INTERVAL)
ISLAND = "island"  # the second workspace: its phase is in the middle of the interval


@asynccontextmanager
async def working(shard: Shard, view: FleetView) -> AsyncIterator[WorkspaceActor]:
    """A workspace's actor, for the length of the block."""
    actor = shard.workspace(view)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        yield actor
        nursery.cancel_scope.cancel()


def regular(
    ordinal: int, count: int, *, after: datetime, workspace_id: str = HARBOUR
) -> list[schedule.Start]:
    starts = []
    for _ in range(count):
        starts.append(schedule.next_start(after, Place(workspace_id, ordinal, INTERVAL)))
        after = starts[-1].start_at
    return starts


async def sleep_until(instant: datetime) -> None:
    await trio.sleep((instant - at(trio.current_time())).total_seconds())


async def story(harness: Harness, workspace_id: str = HARBOUR) -> list[tuple[str, int, str]]:
    """trigger, attempt and outcome of every cycle, oldest first."""
    rows = await harness.cycles(workspace_id)
    return [(str(row.key.trigger), row.key.attempt, str(row.outcome)) for row in rows]


def slots_in_a_row(rows: list[CycleRow]) -> bool:
    slots = [row.key.slot_start_at for row in rows]
    return slots == [slots[0] + number * SLOT for number in range(len(slots))]
