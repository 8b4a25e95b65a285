"""The workspace actor: requested runs, changed configurations and takeovers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from actors.statistics import WorkspaceStatistics
from domain import schedule
from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.model import FaultClass
from domain.resource import workspace_resource
from domain.schedule import Place
from ports.cycles import WantedCycle
from ports.providers import ProviderFault
from runtime.instants import format_instant
from tests.actors.harness import HARBOUR, STEADY, polled, until
from tests.actors.instants import INTERVAL, at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import sample
from tests.actors.working import ISLAND, regular, sleep_until, slots_in_a_row, story, working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from actors.fleet import FleetView
    from ports.providers import Page
    from storage.unit.steps import Statement
    from tests.actors.harness import Harness, Shard


# --- requests and changes


async def test_a_requested_run_starts_at_once_under_its_trace_id(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    async with working(shard, harbour):
        await trio.sleep(100)
        cycle_id = await harness.store.request_cycle(HARBOUR, "trace-of-the-operator")
        await shard.reload(harbour)
        await trio.sleep(INTERVAL)
    rows = await harness.cycles()
    assert await story(harness) == [
        ("schedule", 1, "completed"),
        ("manual", 1, "completed"),
        ("schedule", 1, "completed"),
    ]
    assert (rows[1].cycle_id, rows[1].trace_id, rows[1].started_at) == (
        cycle_id,
        "trace-of-the-operator",
        at(100),
    )


async def test_a_run_requested_while_there_was_no_owner_is_taken_up(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await harness.store.request_cycle(HARBOUR, "trace-of-the-operator")
    async with working(shard, await shard.view()):
        await trio.sleep(1)
    assert ("manual", 1, "completed") in await story(harness)


async def test_a_run_waits_for_the_configuration_it_was_requested_with(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    """A connection is added and a run requested at once; the actor knows of the request only."""
    await harness.add_connection(polled("new"))
    await harness.store.request_cycle(HARBOUR, "trace-of-the-operator")
    async with working(shard, harbour):
        await trio.sleep(5)
        assert ("manual", 1, "requested") in await story(harness)
        await shard.reload(harbour)
        await trio.sleep(5)
    (manual,) = [row for row in await harness.cycles() if row.key.trigger is CycleTrigger.MANUAL]
    assert manual.outcome is CycleOutcome.COMPLETED
    assert {STEADY, "new"} <= manual.summary["connections"].keys()


async def test_a_run_requested_just_before_a_start_costs_no_slot(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    """It gets a fifth of the interval, and the regular cycle waits for it."""
    async with working(shard, harbour):
        await trio.sleep(INTERVAL - 1)
        shard.provider.pollers[STEADY].script = [10_000.0]
        await harness.store.request_cycle(HARBOUR, "trace-of-the-operator")
        await shard.reload(harbour)
        await trio.sleep(INTERVAL)
    assert await story(harness) == [
        ("schedule", 1, "completed"),
        ("manual", 1, "timed_out"),
        ("schedule", 1, "completed"),
    ]
    _, manual, after = await harness.cycles()
    assert manual.ended_at == at(INTERVAL - 1 + 0.2 * INTERVAL)
    assert slots_in_a_row([(await harness.cycles())[0], after])


async def test_a_change_of_configuration_does_not_cancel_a_late_start(
    harness: Harness, shard: Shard, island: FleetView, autojump_clock: MockClock
) -> None:
    await trio.sleep(20)
    late = schedule.late_start(at(20), Place(ISLAND, 1, INTERVAL))
    async with working(shard, island):
        for _ in range(3):
            await trio.sleep(5)
            await shard.reload(island)
        await sleep_until(late.start_at + timedelta(seconds=5))
    assert await story(harness, ISLAND) == [("late", 1, "completed")]
    assert [row.started_at for row in await harness.cycles(ISLAND)] == [late.start_at]


async def test_a_device_that_is_added_is_asked_about_in_the_next_cycle(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    async with working(shard, harbour):
        await trio.sleep(10)
        await harness.add_connection(polled(), "bus-3")
        await shard.reload(harbour)
        await trio.sleep(INTERVAL)
    calls = shard.provider.pollers[STEADY].calls
    assert [call.external_ids for call in calls] == [
        ["x-bus-1", "x-bus-2"],
        ["x-bus-1", "x-bus-2", "x-bus-3"],
    ]


async def test_another_interval_counts_at_once_and_misses_no_slot(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    async with working(shard, harbour):
        await trio.sleep(200)
        await harness.add_workspace(HARBOUR, interval=60)
        await shard.reload(harbour)
        await trio.sleep(180)
    rows = await harness.cycles()
    assert CycleOutcome.MISSED not in [row.outcome for row in rows]
    regular = [row.started_at for row in rows[1:] if row.key.trigger is CycleTrigger.SCHEDULE]
    assert regular == [
        schedule.next_start(at(200 + 60 * n), Place(HARBOUR, 0, 60)).start_at for n in range(3)
    ]


async def test_another_interval_during_a_cycle_invents_no_missed_slots(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    shard.provider.pollers[STEADY] = ScriptedPoller(230.0)
    async with working(shard, harbour):
        await until(lambda: bool(shard.provider.pollers[STEADY].calls))
        await trio.sleep(100)
        await harness.add_workspace(HARBOUR, interval=60)
        await shard.reload(harbour)
        await trio.sleep(300)
    assert CycleOutcome.MISSED not in [row.outcome for row in await harness.cycles()]


async def test_another_interval_repeats_no_cycle_that_just_began(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    """The cycle lies in what is now the present slot of the other interval."""
    async with working(shard, harbour):
        await trio.sleep(1)
        await harness.add_workspace(HARBOUR, interval=900)
        await shard.reload(harbour)
        await trio.sleep(900)
    first, second = await harness.cycles()
    assert first.key.trigger is second.key.trigger is CycleTrigger.SCHEDULE
    assert second.started_at == schedule.next_start(at(1), Place(HARBOUR, 0, 900)).start_at


async def test_a_workspace_switched_off_and_on_follows_its_new_place(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    """Another workspace took its ordinal meanwhile.

    Nothing ran while it was off, and nothing was missed.
    """
    async with working(shard, harbour) as actor:
        await trio.sleep(10)
        await harness.add_workspace(HARBOUR, active=False)
        await harness.add_workspace("newcomer")
        await shard.reload(harbour)
        await trio.sleep(4 * INTERVAL)
        assert actor.statistics().next_start_at is None
        assert await story(harness) == [("schedule", 1, "completed")]
        await harness.add_workspace(HARBOUR)
        await shard.reload(harbour)
        assert harbour.workspace.ordinal == 1
        await trio.sleep(2 * INTERVAL)
    rows = await harness.cycles()
    assert {row.outcome for row in rows} == {CycleOutcome.COMPLETED}
    regular_starts = [
        row.started_at for row in rows[1:] if row.key.trigger is CycleTrigger.SCHEDULE
    ]
    assert regular_starts == [
        start.start_at for start in regular(1, 2, after=at(4 * INTERVAL + 10))
    ]


async def test_switching_off_and_on_at_once_does_not_collect_twice(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    async with working(shard, harbour):
        await trio.sleep(10)
        for active in (False, True):
            await harness.add_workspace(HARBOUR, active=active)
            await shard.reload(harbour)
        await trio.sleep(INTERVAL - 20)
    assert await story(harness) == [("schedule", 1, "completed")]


async def test_a_run_requested_while_it_was_off_starts_when_it_is_on(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    """The actor learned of the request before the activation, and of nothing else after it."""
    async with working(shard, harbour):
        await trio.sleep(10)
        await harness.add_workspace(HARBOUR, active=False)
        await shard.reload(harbour)
        await trio.sleep(1)
        await harness.store.request_cycle(HARBOUR, "trace-of-the-operator")
        await shard.reload(harbour)
        await trio.sleep(1)
        await harness.add_workspace(HARBOUR)
        await shard.reload(harbour)
        await trio.sleep(5)
    assert await story(harness) == [("schedule", 1, "completed"), ("manual", 1, "completed")]


async def test_the_next_owner_misses_no_slot_of_the_time_it_was_off(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(10)
    await harness.add_workspace(HARBOUR, active=False)
    await harness.add_workspace("newcomer")
    await trio.sleep(4 * INTERVAL)
    await harness.add_workspace(HARBOUR)
    async with working(shard, await shard.view()):
        await trio.sleep(2 * INTERVAL)
    assert {outcome for _, _, outcome in await story(harness)} == {"completed"}


async def test_another_credential_does_not_wait_for_the_former_quota(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    refusal = ProviderFault(FaultClass.QUOTA, "too many", retry_after=86_400.0)
    shard.provider.pollers[STEADY] = poller = ScriptedPoller(
        refusal, page(sample("bus-1", 5, soc_percent=10))
    )
    async with working(shard, harbour):
        await trio.sleep(INTERVAL + 10)
        assert len(poller.calls) == 1
        await harness.add_connection(
            replace(polled(), credential="env:LASTHEARD_SECRET_OTHER_ACCOUNT")
        )
        await harness.store.request_cycle(HARBOUR, "trace-of-the-operator")
        await shard.reload(harbour)
        await trio.sleep(10)
    assert len(poller.calls) == 2


async def test_a_late_cycle_that_is_too_long_is_cut_off_only_once(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its fetching ends in time for the commits, even slow ones, before the next slot."""
    latest = max(
        range(1, 40), key=lambda ordinal: ordinal * schedule.LATE_RATIO % 1
    )  # as late as there is room
    for number in range(1, latest):
        await harness.add_workspace(f"fleet-{number}")
    await harness.add_workspace("last")
    await harness.add_connection(polled("ferries", "last"), "raft-1")
    view = await shard.view("last")
    shard.provider.pollers["ferries"] = LongPoller()

    async def commit_slowly(statement: Statement) -> None:
        if statement.name == "fence":
            await trio.sleep(1.2)

    harness.store.before_each_statement(commit_slowly)
    nursery.start_soon(shard.ingest.run)
    async with working(shard, view):
        await trio.sleep(5 * INTERVAL)
    outcomes = [outcome for _, _, outcome in await story(harness, "last")]
    assert outcomes[0] == "timed_out"
    assert set(outcomes[1:]) == {"completed"}


class LongPoller(ScriptedPoller):
    """A hundred pages, a second each."""

    async def fetch(
        self, external_ids: Sequence[str], cursor: str | None, token: str | None
    ) -> Page:
        await trio.sleep(1)
        number = int(token or 0) + 1
        news = sample("raft-1", trio.current_time(), speed_kmh=1)
        return page(news, next_page=str(number) if number < 100 else None)


# --- takeovers


async def test_the_next_owner_attempts_a_handed_over_cycle_again(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    other = await harness.boot("shard-2")
    for one in (shard, other):
        nursery.start_soon(one.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(10_000.0)
    async with working(shard, await shard.view()):
        await trio.sleep(40)
    await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    async with working(other, await other.view()):
        await trio.sleep(20)
    assert await story(harness) == [("schedule", 1, "abandoned"), ("schedule", 2, "completed")]
    first, second = await harness.cycles()
    assert first.key.slot_start_at == second.key.slot_start_at


async def test_a_dead_shards_cycle_is_abandoned_and_attempted_again(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    slot = regular(0, 1, after=at(0))[0].slot_start_at
    key = CycleKey(HARBOUR, slot, CycleTrigger.SCHEDULE, 1)
    await trio.sleep(1)
    await harness.store.start_cycle(
        shard.session, WantedCycle(key, schedule.cycle_id(key), "trace-1")
    )
    other = await harness.boot("shard-2")
    nursery.start_soon(other.ingest.run)
    await trio.sleep(60)
    async with working(other, await other.view()):
        await trio.sleep(20)
    assert await story(harness) == [("schedule", 1, "abandoned"), ("schedule", 2, "completed")]


async def test_too_late_in_the_slot_there_is_no_other_attempt(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    other = await harness.boot("shard-2")
    for one in (shard, other):
        nursery.start_soon(one.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(10_000.0)
    async with working(shard, await shard.view()):
        await trio.sleep(0.75 * INTERVAL)
    await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    async with working(other, await other.view()):
        await trio.sleep(0.5 * INTERVAL)
    assert await story(harness) == [("schedule", 1, "abandoned"), ("schedule", 1, "completed")]


async def test_a_session_that_is_over_starts_nothing(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await harness.boot("shard-1")  # the next epoch of the same shard
    async with working(shard, await shard.view()) as actor:
        await trio.sleep(2 * INTERVAL)
        assert actor.statistics().outcomes == {}
    assert await harness.cycles() == []


async def test_statistics_show_the_outcomes_and_the_next_start(
    harness: Harness, shard: Shard, harbour: FleetView, autojump_clock: MockClock
) -> None:
    async with working(shard, harbour) as actor:
        await trio.sleep(10)
        assert actor.statistics() == WorkspaceStatistics(
            outcomes={"completed": 1},
            next_start_at=format_instant(regular(0, 2, after=at(0))[1].start_at),
            config_version=harbour.workspace.config_version,
        )
