"""The workspace actor: one cycle in every slot of its own, through restarts, outages, takeovers and changes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from domain import schedule
from domain.model import CycleKey, CycleOutcome, CycleTrigger
from tests.actors.cast import (
    HARBOUR,
    INTERVAL,
    STEADY,
    ScriptedPoller,
    at,
    page,
    polled,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from trio.testing import MockClock

    from actors.fleet import FleetView
    from actors.workspace import WorkspaceActor
    from api.ports import CycleRow
    from tests.actors.cast import House, Shard

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


def regular(ordinal: int, count: int, *, after: datetime, workspace_id: str = HARBOUR) -> list[schedule.Start]:
    starts = []
    for _ in range(count):
        starts.append(schedule.next_start(after, workspace_id, ordinal, INTERVAL))
        after = starts[-1].start_at
    return starts


async def sleep_until(instant: datetime) -> None:
    await trio.sleep((instant - at(trio.current_time())).total_seconds())


async def story(house: House, workspace_id: str = HARBOUR) -> list[tuple[str, int, str]]:
    """trigger, attempt and outcome of every cycle, oldest first."""
    rows = await house.cycles(workspace_id)
    return [(str(row.key.trigger), row.key.attempt, str(row.outcome)) for row in rows]


def slots_in_a_row(rows: list[CycleRow]) -> bool:
    slots = [row.key.slot_start_at for row in rows]
    return slots == [slots[0] + number * SLOT for number in range(len(slots))]


@pytest.fixture
async def island(house: House, shard: Shard, nursery: trio.Nursery) -> FleetView:
    """As `shard` sees it, with its ingest actor running."""
    await house.add_workspace(ISLAND)
    await house.add_connection(polled("ferries", ISLAND), "raft-1")
    nursery.start_soon(shard.ingest.run)
    return await shard.view(ISLAND)


# --- the regular run


async def test_every_slot_gets_its_cycle_at_its_own_instant(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(5 * INTERVAL)
    rows = [row for row in await house.cycles() if row.key.trigger is CycleTrigger.SCHEDULE]
    expected = regular(0, 5, after=at(0))
    assert [schedule.Start(row.key.slot_start_at, row.started_at) for row in rows] == expected  # type: ignore[arg-type]
    assert [row.outcome for row in rows] == [CycleOutcome.COMPLETED] * 5


async def test_fetching_ends_at_four_fifths_of_the_interval(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(10_000.0)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL - 1)
    (row,) = await house.cycles()
    assert row.outcome is CycleOutcome.TIMED_OUT
    assert row.started_at is not None
    assert row.ended_at is not None
    assert row.ended_at - row.started_at == timedelta(seconds=0.8 * INTERVAL)


async def test_regular_starts_of_two_hundred_workspaces_are_spread(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Acceptance behaviour 1: never more than 1.3 x N / interval + 3 in any one second."""
    count, interval, slots = 200, 60, 4
    for number in range(count - 1):  # the harbour is the first
        await house.add_workspace(f"fleet-{number}", interval=interval)
    nursery.start_soon(shard.ingest.run)
    views = [await shard.view(f"fleet-{number}") for number in range(count - 1)]
    async with trio.open_nursery() as actors:
        for view in views:
            actors.start_soon(shard.workspace(view).run)
        await trio.sleep((slots + 1) * interval)
        actors.cancel_scope.cancel()
    starts = []
    for view in views:
        rows = [row for row in await house.cycles(view.workspace_id) if row.key.trigger is CycleTrigger.SCHEDULE]
        assert len(rows) >= slots
        starts += [row.started_at for row in rows if row.started_at is not None]
    starts.sort()
    worst = max(
        sum(start <= other < start + timedelta(seconds=1) for other in starts[n : n + 50])
        for n, start in enumerate(starts)
    )
    assert worst <= 1.3 * count / interval + 3


# --- after a boot


async def test_a_boot_in_the_middle_of_a_slot_makes_up_for_it_at_a_moment_of_its_own(
    house: House, shard: Shard, island: FleetView, autojump_clock: MockClock
) -> None:
    await trio.sleep(20)
    late = schedule.late_start(at(20), ISLAND, 1, INTERVAL)
    async with working(shard, island):
        await trio.sleep(INTERVAL)
    first, second = await house.cycles(ISLAND)
    assert (first.key.trigger, first.key.slot_start_at, first.started_at) == (CycleTrigger.LATE, *late)
    assert second.key == CycleKey(ISLAND, late.slot_start_at + SLOT, CycleTrigger.SCHEDULE, 1)
    assert at(30) < late.start_at < second.key.slot_start_at


async def test_a_boot_near_the_end_of_a_slot_records_it_as_missed(
    house: House, shard: Shard, island: FleetView, autojump_clock: MockClock
) -> None:
    await trio.sleep(150)
    async with working(shard, island):
        await trio.sleep(INTERVAL)
    assert await story(house, ISLAND) == [("schedule", 1, "missed"), ("schedule", 1, "completed")]


async def test_a_completed_slot_is_not_repeated_by_a_restart_or_another_shard(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    other = await house.boot("shard-2")
    for one in (shard, other):
        nursery.start_soon(one.ingest.run)
    for one in (shard, shard, other):
        async with working(one, await one.view()):
            await trio.sleep(30)
    assert await story(house) == [("schedule", 1, "completed")]


async def test_slots_that_nobody_served_are_recorded_as_missed_by_the_next_owner(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(10)
    await trio.sleep(4 * INTERVAL)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL)
    rows = await house.cycles()
    assert [str(row.outcome) for row in rows] == ["completed", "missed", "missed", "missed", "completed", "completed"]
    assert slots_in_a_row(rows)


async def test_of_a_long_absence_the_newest_slots_are_recorded(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(10)
    await trio.sleep(100 * INTERVAL)
    async with working(shard, await shard.view()):
        await trio.sleep(10)
    rows = await house.cycles()
    assert [row.outcome for row in rows].count(CycleOutcome.MISSED) == 12
    assert slots_in_a_row(rows[1:])


# --- the database is away


async def test_a_cycle_never_starts_outside_its_slot_and_slots_of_an_outage_are_missed(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL)
        house.store.go_away()
        await trio.sleep(12.4 * INTERVAL)
        house.store.come_back()
        await trio.sleep(INTERVAL)
    rows = await house.cycles()
    assert slots_in_a_row(rows)
    outcomes = [str(row.outcome) for row in rows]
    assert outcomes == ["completed"] + ["missed"] * 12 + ["completed"] * 2
    for row in rows:
        if row.started_at is not None:
            assert row.key.slot_start_at <= row.started_at < row.key.slot_start_at + SLOT
    assert {kind for _, kind, _ in house.edges()} == {"call_succeeded"}  # no provider is to blame


async def test_a_short_outage_only_delays_the_start_within_its_slot(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL - 10)
        house.store.go_away()
        await trio.sleep(100)
        house.store.come_back()
        await trio.sleep(30)
    _, second = await house.cycles()
    assert second.outcome is CycleOutcome.COMPLETED
    assert second.started_at is not None
    assert at(INTERVAL + 90) <= second.started_at <= at(INTERVAL + 96)


async def test_a_cycle_that_the_database_keeps_waiting_at_its_end_delays_no_other_slot(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(20.0, page(sample("bus-1", 5, soc_percent=10)))
    async with working(shard, await shard.view()):
        await trio.sleep(10)
        house.store.go_away()
        await trio.sleep(INTERVAL / 2)
        house.store.come_back()
        await trio.sleep(INTERVAL)
    assert [outcome for _, _, outcome in await story(house)] == ["completed", "completed"]


# --- somebody asks, somebody changes


async def test_a_run_that_is_asked_for_starts_at_once_under_the_trace_id_of_who_asked(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    view = await shard.view()
    async with working(shard, view):
        await trio.sleep(100)
        cycle_id = await house.store.request_cycle(HARBOUR, "trace-of-the-operator")
        view.wake()
        await trio.sleep(INTERVAL)
    rows = await house.cycles()
    assert await story(house) == [
        ("schedule", 1, "completed"),
        ("manual", 1, "completed"),
        ("schedule", 1, "completed"),
    ]
    assert (rows[1].cycle_id, rows[1].trace_id, rows[1].started_at) == (cycle_id, "trace-of-the-operator", at(100))


async def test_a_run_that_was_asked_for_while_nobody_owned_the_workspace_is_taken_up(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await house.store.request_cycle(HARBOUR, "trace-of-the-operator")
    async with working(shard, await shard.view()):
        await trio.sleep(1)
    assert ("manual", 1, "completed") in await story(house)


async def test_a_run_that_is_asked_for_just_before_a_regular_start_costs_no_slot(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It gets a fifth of the interval, and the regular cycle waits for it."""
    nursery.start_soon(shard.ingest.run)
    view = await shard.view()
    async with working(shard, view):
        await trio.sleep(INTERVAL - 1)
        shard.provider.pollers[STEADY].script = [10_000.0]
        await house.store.request_cycle(HARBOUR, "trace-of-the-operator")
        view.wake()
        await trio.sleep(INTERVAL)
    assert await story(house) == [
        ("schedule", 1, "completed"),
        ("manual", 1, "timed_out"),
        ("schedule", 1, "completed"),
    ]
    _, manual, after = await house.cycles()
    assert manual.ended_at == at(INTERVAL - 1 + 0.2 * INTERVAL)
    assert slots_in_a_row([(await house.cycles())[0], after])


async def test_a_change_of_the_configuration_does_not_cancel_a_late_start(
    house: House, shard: Shard, island: FleetView, autojump_clock: MockClock
) -> None:
    await trio.sleep(20)
    late = schedule.late_start(at(20), ISLAND, 1, INTERVAL)
    async with working(shard, island):
        for _ in range(3):
            await trio.sleep(5)
            await shard.reload(island)
        await sleep_until(late.start_at + timedelta(seconds=5))
    assert await story(house, ISLAND) == [("late", 1, "completed")]
    assert [row.started_at for row in await house.cycles(ISLAND)] == [late.start_at]


async def test_a_device_that_is_added_is_asked_about_in_the_next_cycle(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    view = await shard.view()
    async with working(shard, view):
        await trio.sleep(10)
        await house.add_connection(polled(), "bus-3")
        await shard.reload(view)
        await trio.sleep(INTERVAL)
    calls = shard.provider.pollers[STEADY].calls
    assert [call.external_ids for call in calls] == [["x-bus-1", "x-bus-2"], ["x-bus-1", "x-bus-2", "x-bus-3"]]


async def test_another_interval_counts_at_once_and_invents_no_missed_slots(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await house.add_workspace(HARBOUR, interval=3600)
    view = await shard.view()
    async with working(shard, view):
        await trio.sleep(1800)
        await house.add_workspace(HARBOUR, interval=60)
        await shard.reload(view)
        await trio.sleep(180)
    rows = await house.cycles()
    assert CycleOutcome.MISSED not in [row.outcome for row in rows]
    starts = [row.started_at for row in rows if row.started_at and row.started_at > at(1801)]
    assert starts == [schedule.next_start(at(1801 + 60 * n), HARBOUR, 0, 60).start_at for n in range(2)]


# --- takeovers


async def test_a_handed_over_cycle_is_attempted_again_by_the_next_owner(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    other = await house.boot("shard-2")
    for one in (shard, other):
        nursery.start_soon(one.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(10_000.0)
    async with working(shard, await shard.view()):
        await trio.sleep(40)
    await shard.ingest.wait_settled(f"workspace:{HARBOUR}")
    async with working(other, await other.view()):
        await trio.sleep(20)
    assert await story(house) == [("schedule", 1, "abandoned"), ("schedule", 2, "completed")]
    first, second = await house.cycles()
    assert first.key.slot_start_at == second.key.slot_start_at


async def test_an_orphan_of_a_shard_that_died_is_abandoned_and_attempted_again(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    slot = regular(0, 1, after=at(0))[0].slot_start_at
    key = CycleKey(HARBOUR, slot, CycleTrigger.SCHEDULE, 1)
    await trio.sleep(1)
    await house.store.start_cycle(shard.session, key, schedule.cycle_id(key), "trace-1")
    other = await house.boot("shard-2")
    nursery.start_soon(other.ingest.run)
    await trio.sleep(60)
    async with working(other, await other.view()):
        await trio.sleep(20)
    assert await story(house) == [("schedule", 1, "abandoned"), ("schedule", 2, "completed")]


async def test_too_late_in_the_slot_there_is_no_other_attempt(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    other = await house.boot("shard-2")
    for one in (shard, other):
        nursery.start_soon(one.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(10_000.0)
    async with working(shard, await shard.view()):
        await trio.sleep(0.75 * INTERVAL)
    await shard.ingest.wait_settled(f"workspace:{HARBOUR}")
    async with working(other, await other.view()):
        await trio.sleep(0.5 * INTERVAL)
    assert await story(house) == [("schedule", 1, "abandoned"), ("schedule", 1, "completed")]


async def test_a_session_that_is_over_starts_nothing(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await house.boot("shard-1")  # the next epoch of the same shard
    async with working(shard, await shard.view()) as actor:
        await trio.sleep(2 * INTERVAL)
        assert actor.statistics()["outcomes"] == {}
    assert await house.cycles() == []


async def test_it_tells_what_it_has_done_and_when_it_is_next(
    house: House, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    view = await shard.view()
    async with working(shard, view) as actor:
        await trio.sleep(10)
        assert actor.statistics() == {
            "outcomes": {"completed": 1},
            "next_start_at": regular(0, 2, after=at(0))[1].start_at.isoformat(),
            "config_version": view.workspace.config_version,
        }
