"""The workspace actor: one cycle in every slot of its own, through boots and outages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from domain import schedule
from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.schedule import Place
from tests.actors.harness import HARBOUR, STEADY
from tests.actors.instants import INTERVAL, at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import sample
from tests.actors.working import (
    ISLAND,
    SLOT,
    regular,
    sleep_until,
    slots_in_a_row,
    story,
    working,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from actors.fleet import FleetView
    from tests.actors.harness import Harness, Shard


# --- the regular run


async def test_every_slot_gets_its_cycle_at_its_own_instant(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(5 * INTERVAL - 1)
    rows = [row for row in await harness.cycles() if row.key.trigger is CycleTrigger.SCHEDULE]
    expected = regular(0, 5, after=at(0))
    assert [(row.key.slot_start_at, row.started_at) for row in rows] == expected
    assert [row.outcome for row in rows] == [CycleOutcome.COMPLETED] * 5


async def test_fetching_ends_at_four_fifths_of_the_interval(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(10_000.0)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL - 1)
    (row,) = await harness.cycles()
    assert row.outcome is CycleOutcome.TIMED_OUT
    assert row.started_at is not None
    assert row.ended_at is not None
    assert row.ended_at - row.started_at == timedelta(seconds=0.8 * INTERVAL)


async def test_regular_starts_of_two_hundred_workspaces_are_spread(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Acceptance behaviour 1: never more than 1.3 x N / interval + 3 in any one second."""
    count, interval, slots = 200, 60, 4
    for number in range(count - 1):  # the harbour is the first
        await harness.add_workspace(f"fleet-{number}", interval=interval)
    nursery.start_soon(shard.ingest.run)
    views = [await shard.view(f"fleet-{number}") for number in range(count - 1)]
    async with trio.open_nursery() as actors:
        for view in views:
            actors.start_soon(shard.workspace(view).run)
        await trio.sleep((slots + 1) * interval)
        actors.cancel_scope.cancel()
    starts = []
    for view in views:
        rows = [
            row
            for row in await harness.cycles(view.workspace_id)
            if row.key.trigger is CycleTrigger.SCHEDULE
        ]
        assert len(rows) >= slots
        starts += [row.started_at for row in rows if row.started_at is not None]
    starts.sort()
    worst = max(
        sum(start <= other < start + timedelta(seconds=1) for other in starts[n : n + 50])
        for n, start in enumerate(starts)
    )
    assert worst <= 1.3 * count / interval + 3


# --- after a boot


async def test_a_boot_within_a_slot_makes_up_for_it_at_its_own_moment(
    harness: Harness, shard: Shard, island: FleetView, autojump_clock: MockClock
) -> None:
    await trio.sleep(20)
    late = schedule.late_start(at(20), Place(ISLAND, 1, INTERVAL))
    async with working(shard, island):
        await trio.sleep(INTERVAL)
    first, second = await harness.cycles(ISLAND)
    assert (first.key.trigger, first.key.slot_start_at, first.started_at) == (
        CycleTrigger.LATE,
        *late,
    )
    assert second.key == CycleKey(ISLAND, late.slot_start_at + SLOT, CycleTrigger.SCHEDULE, 1)
    assert at(30) < late.start_at < second.key.slot_start_at


async def test_a_boot_near_the_end_of_a_slot_records_it_as_missed(
    harness: Harness, shard: Shard, island: FleetView, autojump_clock: MockClock
) -> None:
    await trio.sleep(150)
    async with working(shard, island):
        await trio.sleep(INTERVAL)
    assert await story(harness, ISLAND) == [("schedule", 1, "missed"), ("schedule", 1, "completed")]


async def test_a_completed_slot_is_repeated_by_no_restart_and_no_shard(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    other = await harness.boot("shard-2")
    for one in (shard, other):
        nursery.start_soon(one.ingest.run)
    for one in (shard, shard, other):
        async with working(one, await one.view()):
            await trio.sleep(30)
    assert await story(harness) == [("schedule", 1, "completed")]


async def test_the_next_owner_records_slots_without_a_cycle_as_missed(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(10)
    await trio.sleep(4 * INTERVAL)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL)
    rows = await harness.cycles()
    assert [str(row.outcome) for row in rows] == [
        "completed",
        "missed",
        "missed",
        "missed",
        "completed",
        "completed",
    ]
    assert slots_in_a_row(rows)


async def test_of_a_long_absence_the_newest_slots_are_recorded(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(10)
    await trio.sleep(100 * INTERVAL)
    async with working(shard, await shard.view()):
        await trio.sleep(10)
    rows = await harness.cycles()
    assert [row.outcome for row in rows].count(CycleOutcome.MISSED) == 12
    assert slots_in_a_row(rows[1:])


# --- the database is away


async def test_no_cycle_starts_outside_its_slot_after_an_outage(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL - 1)
        harness.store.go_away()
        await trio.sleep(12.4 * INTERVAL)
        harness.store.come_back()
        await trio.sleep(INTERVAL)
    rows = await harness.cycles()
    assert slots_in_a_row(rows)
    outcomes = [str(row.outcome) for row in rows]
    assert outcomes == ["completed"] + ["missed"] * 12 + ["completed"] * 2
    for row in rows:
        if row.started_at is not None:
            assert row.key.slot_start_at <= row.started_at < row.key.slot_start_at + SLOT
    assert {kind for _, kind, _ in harness.edges()} == {"call_succeeded"}  # no provider is to blame


async def test_a_short_outage_only_delays_the_start_within_its_slot(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL - 10)
        harness.store.go_away()
        await trio.sleep(100)
        harness.store.come_back()
        await trio.sleep(30)
    _, second = await harness.cycles()
    assert second.outcome is CycleOutcome.COMPLETED
    assert second.started_at is not None
    assert at(INTERVAL + 90) <= second.started_at <= at(INTERVAL + 96)


async def test_a_cycle_whose_end_waits_delays_no_other_slot(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(20.0, page(sample("bus-1", 5, soc_percent=10)))
    async with working(shard, await shard.view()):
        await trio.sleep(10)
        harness.store.go_away()
        await trio.sleep(INTERVAL / 2)
        harness.store.come_back()
        await trio.sleep(INTERVAL)
    assert [outcome for _, _, outcome in await story(harness)] == ["completed", "completed"]


async def test_a_cycle_that_is_stopped_before_it_is_due_is_abandoned(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    place = Place(HARBOUR, 0, INTERVAL)
    start = schedule.next_start(at(INTERVAL - 1), place)
    poller = shard.provider.pollers[STEADY] = ScriptedPoller(page())
    async with working(shard, await shard.view()):
        await sleep_until(schedule.ask_at(start, INTERVAL) + timedelta(seconds=0.1))
    assert at(trio.current_time()) < start.start_at
    await trio.sleep(60)
    assert (await story(harness))[-1] == ("schedule", 1, "abandoned")
    assert len(poller.calls) == 1  # of the cycle before
