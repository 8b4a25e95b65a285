"""The workspace actor at an explicit offset: it moves there at once, and loses no slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from domain import schedule
from domain.cycles import CycleOutcome
from domain.schedule import Place
from runtime.instants import format_instant
from tests.actors.harness import HARBOUR
from tests.actors.instants import INTERVAL, at
from tests.actors.working import working

if TYPE_CHECKING:
    from trio.testing import MockClock

    from actors.fleet import FleetView
    from tests.actors.harness import Harness, Shard


async def test_another_offset_counts_at_once_and_serves_each_slot_once(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    """The cycle of the old place lies in the present slot of the new one, which it serves."""
    place = Place(HARBOUR, 0, INTERVAL, offset=int(at(200).timestamp()) % INTERVAL)
    async with working(shard, harbour):
        await trio.sleep(20)
        await harness.add_workspace(HARBOUR, offset=place.offset)
        await shard.reload(harbour)
        await trio.sleep(2 * INTERVAL)
    rows = await harness.cycles()
    assert [row.outcome for row in rows] == [CycleOutcome.COMPLETED] * 3
    assert [row.started_at for row in rows[1:]] == [
        schedule.next_start(at(20 + INTERVAL * n), place).start_at for n in range(2)
    ]


async def test_the_next_owner_starts_at_the_same_offset(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    place = Place(HARBOUR, 0, INTERVAL, offset=int(at(200).timestamp()) % INTERVAL)
    await harness.add_workspace(HARBOUR, offset=place.offset)
    await shard.reload(harbour)
    async with working(shard, harbour):
        await trio.sleep(250)
    async with working(shard, harbour) as second:
        await trio.sleep(10)
        next_start = schedule.next_start(at(260), place)
        assert second.statistics().next_start_at == format_instant(next_start.start_at)
    started = [row for row in await harness.cycles() if row.key.slot_start_at == at(200)]
    assert len(started) <= 1
