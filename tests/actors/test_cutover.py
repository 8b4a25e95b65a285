"""The cutover actor: the steps after each cycle, and what a failure of one of them costs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.cutover import CutoverActor
from actors.cycle_ends import EndedRun
from actors.sides import SidesReader
from domain.cutover import NEW_CUTOVER, Cutover, PollOwner
from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from ports.cutovers import new_draft
from ports.legacy import LegacyConfiguration
from storage.faults import DatabaseAway
from tests.actors.cycling import make_cycle
from tests.actors.harness import HARBOUR, polled, streamed, until
from tests.actors.instants import at
from tests.legacy.scripted import ScriptedLegacy

if TYPE_CHECKING:
    from actors.cutover import AfterCycle
    from actors.fleet import FleetView
    from domain.model import SessionRef
    from ports.parity import CoreView, ParityCycle
    from tests.actors.harness import Harness, Shard

LEGACY = LegacyConfiguration("http://127.0.0.1:9", None, {})


@dataclass
class ScriptedStep:
    """actors.cutover.CutoverStep that notes its cycles, and does what it is told."""

    name: str = "first"
    deadline_seconds: float = 5.0
    fault: Exception | None = None
    seconds: float = 0.0
    poll_owners: tuple[PollOwner, ...] = tuple(PollOwner)  # that it concerns
    seen: list[str] = field(default_factory=list)

    def concerns(self, flags: Cutover) -> bool:
        return flags.poll_owner in self.poll_owners

    async def run(self, after: AfterCycle) -> bool:
        self.seen.append(after.ended.cycle_id)
        await trio.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        return True


@dataclass
class ScriptedViews:
    """ports.parity.ParityStore that shows no device and counts how often it was asked."""

    asked: int = 0

    async def load_core_views(self, workspace_id: str) -> list[CoreView]:
        self.asked += 1
        return []

    async def record_parity(
        self, session: SessionRef, workspace_id: str, cycle: ParityCycle
    ) -> bool:
        raise AssertionError("no step compares here")


def make_actor(shard: Shard, view: FleetView, *steps: Any) -> CutoverActor:
    reader = SidesReader(view, ScriptedLegacy(), ScriptedViews())
    return CutoverActor(view, shard.session, shard.harness.store, reader, steps)


def ended(cycle_id: str = "cycle-1", **rest: Any) -> EndedRun:
    return EndedRun(at(0), cycle_id, "trace-1", NEW_CUTOVER)._replace(**rest)


async def settle(seconds: float = 20.0) -> None:
    await trio.sleep(seconds)


# --- which cycles


@pytest.fixture
async def view(shard: Shard) -> FleetView:
    return await shard.view()


async def test_a_cycle_is_told_when_its_end_is_committed(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: object
) -> None:
    cycle = await make_cycle(shard)
    view = cycle._view
    with trio.move_on_after(60):
        await cycle.run(240, 30)  # the ingest actor does not run, so nothing is committed
    with trio.move_on_after(1) as waiting:
        await view.ends.take()
    assert waiting.cancelled_caught
    nursery.start_soon(shard.ingest.run)
    told = await view.ends.take()
    (row,) = await harness.cycles()
    assert told == EndedRun(row.key.slot_start_at, row.cycle_id, "trace-c", NEW_CUTOVER)


async def test_a_cycle_whose_end_is_given_up_is_not_told(
    shard: Shard, autojump_clock: object
) -> None:
    cycle = await make_cycle(shard)
    await cycle.run(240, 30)
    shard.ingest.close()
    assert shard.ingest.give_up() > 0
    with trio.move_on_after(60) as waiting:
        await cycle._view.ends.take()
    assert waiting.cancelled_caught


async def test_a_skipped_cycle_is_told_as_well(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: object
) -> None:
    nursery.start_soon(shard.ingest.run)
    await harness.store.put_provider(polled(active=False))
    await harness.store.put_provider(streamed(settings={"no_state": True}))
    cycle = await make_cycle(shard)
    assert await cycle.run(240, 30) is CycleOutcome.SKIPPED
    with trio.fail_after(5):
        await cycle._view.ends.take()


async def test_a_run_on_demand_is_not_told(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: object
) -> None:
    nursery.start_soon(shard.ingest.run)
    cycle = await make_cycle(shard)
    manual = CycleKey(HARBOUR, at(0), CycleTrigger.MANUAL, 1)
    cycle.start = cycle.start._replace(key=manual)
    await cycle.run(240, 30)
    with trio.move_on_after(60) as waiting:
        await cycle._view.ends.take()
    assert waiting.cancelled_caught


async def test_only_the_newest_end_waits(view: FleetView, autojump_clock: object) -> None:
    for name in ("one", "two", "three"):
        view.ends.note(ended(name))
    assert (await view.ends.take()).cycle_id == "three"
    with trio.move_on_after(60) as waiting:
        await view.ends.take()
    assert waiting.cancelled_caught


# --- what happens after one


async def test_each_step_runs_once_after_each_cycle(
    shard: Shard, view: FleetView, nursery: trio.Nursery, autojump_clock: object
) -> None:
    first, second = ScriptedStep(), ScriptedStep("second")
    actor = make_actor(shard, view, first, second)
    nursery.start_soon(actor.run)
    for name in ("one", "two"):
        view.ends.note(ended(name))
        await settle()
    assert first.seen == second.seen == ["one", "two"]
    counted = actor.statistics()
    assert (counted.cycles, counted.done, counted.failing) == (2, {"first": 2, "second": 2}, ())


@pytest.mark.parametrize(
    "trouble",
    [{"fault": DatabaseAway("away")}, {"seconds": 100.0}],
    ids=["a fault", "its deadline"],
)
async def test_a_failure_costs_that_step_of_that_cycle(
    shard: Shard,
    view: FleetView,
    nursery: trio.Nursery,
    trouble: dict[str, Any],
    autojump_clock: object,
) -> None:
    first, second = ScriptedStep(**trouble), ScriptedStep("second")
    actor = make_actor(shard, view, first, second)
    nursery.start_soon(actor.run)
    view.ends.note(ended("one"))
    await settle()
    assert second.seen == ["one"]
    assert actor.statistics().failing == ("first",)
    first.fault, first.seconds = None, 0.0
    view.ends.note(ended("two"))
    await settle()
    assert first.seen == ["one", "two"]
    assert (actor.statistics().done, actor.statistics().failing) == ({"first": 1, "second": 2}, ())


async def test_a_bug_crashes_the_actor_after_the_other_steps(
    shard: Shard, view: FleetView, autojump_clock: object
) -> None:
    first, second = ScriptedStep(fault=ZeroDivisionError()), ScriptedStep("second")
    view.ends.note(ended())
    with trio.fail_after(60), pytest.raises(ZeroDivisionError):
        await make_actor(shard, view, first, second).run()
    assert second.seen == ["cycle-1"]


async def test_only_steps_that_the_flags_concern_are_taken(
    shard: Shard, view: FleetView, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """And where none is concerned, the cutover is not even read."""
    first = ScriptedStep(fault=DatabaseAway("it is away"))
    second = ScriptedStep("second", poll_owners=())
    actor = make_actor(shard, view, first, second)
    nursery.start_soon(actor.run)
    view.ends.note(ended("one"))
    await until(lambda: actor.statistics().failing == ("first",))
    first.poll_owners = ()
    view.ends.note(ended("two"))
    await settle()
    assert (first.seen, second.seen) == (["one"], [])
    assert actor.statistics().failing == ()  # its trouble of before is over
    assert actor.statistics().cycles == 1


async def test_a_cycle_that_ran_under_other_flags_is_left_alone(
    harness: Harness, shard: Shard, view: FleetView, nursery: trio.Nursery, autojump_clock: object
) -> None:
    step = ScriptedStep()
    nursery.start_soon(make_actor(shard, view, step).run)
    shadow = replace(NEW_CUTOVER, poll_owner=PollOwner.BOTH_SHADOW)
    await harness.store.put_cutover(HARBOUR, draft=new_draft(shadow)._replace(legacy=LEGACY))
    view.ends.note(ended("before"))
    await settle()
    view.ends.note(ended("since", flags=shadow))
    await settle()
    assert step.seen == ["since"]


async def test_without_a_live_session_no_step_runs(
    harness: Harness, shard: Shard, view: FleetView, nursery: trio.Nursery, autojump_clock: object
) -> None:
    step = ScriptedStep()
    nursery.start_soon(make_actor(shard, view, step).run)
    await harness.store.end_session(shard.session)
    view.ends.note(ended())
    await settle()
    assert step.seen == []


async def test_while_the_database_is_away_the_actor_goes_on(
    harness: Harness, shard: Shard, view: FleetView, nursery: trio.Nursery, autojump_clock: object
) -> None:
    step = ScriptedStep()
    nursery.start_soon(make_actor(shard, view, step).run)
    harness.store.go_away(for_next=1)
    view.ends.note(ended("one"))
    await settle()
    view.ends.note(ended("two"))
    await settle()
    assert step.seen == ["two"]


async def test_both_sides_are_read_once_for_all_steps(
    shard: Shard, view: FleetView, nursery: trio.Nursery, autojump_clock: object
) -> None:
    class Looking(ScriptedStep):
        async def run(self, after: AfterCycle) -> bool:
            await after.load_sides()
            return await super().run(after)

    views, first, second = ScriptedViews(), Looking(), Looking("second")
    reader = SidesReader(view, ScriptedLegacy(), views)
    actor = CutoverActor(view, shard.session, shard.harness.store, reader, (first, second))
    nursery.start_soon(actor.run)
    view.ends.note(ended("one"))
    await until(lambda: second.seen == ["one"])
    assert views.asked == 1
    view.ends.note(ended("two"))
    await until(lambda: second.seen == ["one", "two"])
    assert views.asked == 2
