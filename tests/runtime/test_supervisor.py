"""The supervisor: bugs are restarted, counted, parked or passed up."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.child_statistics import Crash
from runtime.supervisor import (
    MAX_ENDED_KEPT,
    ChildState,
    EssentialChildFailed,
    Intensity,
    Restart,
    Supervisor,
)
from tests.runtime.scripted_actors import Actor, Bug, Highest, bugs, crashes_logged

if TYPE_CHECKING:
    from random import Random

    from trio.testing import MockClock

    from tests.runtime.scripted_actors import Events

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


async def test_a_crashed_child_runs_again(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(2))
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(20)
        assert (len(actor.started_at), child.restarts, child.state) == (3, 2, ChildState.RUNNING)
        assert child.statistics().last_error == Crash("Bug", "number 1")


async def test_a_crash_is_logged_once_with_its_traceback(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    bug = Bug("boom")
    async with supervisor.open():
        supervisor.start("a", Actor(bug), restart=PERMANENT)
        await trio.sleep(20)
    logged = [event for event in events if event["event"] == "actor_crashed"]
    assert [(event["child"], event["exc_info"]) for event in logged] == [("a", bug)]
    assert bug.__traceback__ is not None


async def test_a_group_of_one_counts_as_the_exception_inside(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [Bug("deep")])])
    async with supervisor.open():
        child = supervisor.start("a", Actor(group), restart=TEMPORARY)
        await child.wait_ended()
    assert child.last_error == Crash("Bug", "deep")
    assert crashes_logged(events) == ["a"]


async def test_restarts_are_delayed_a_little_and_not_in_step(
    random: Random, events: Events, autojump_clock: MockClock
) -> None:
    actors = [Actor(Bug("x")) for _ in range(20)]
    async with Supervisor("test", random=random).open() as supervisor:
        for n, actor in enumerate(actors):
            supervisor.start(str(n), actor, restart=PERMANENT)
        await trio.sleep(5)
    delays = {actor.started_at[1] for actor in actors}
    assert len(delays) == 20
    assert 0 < max(delays) <= 0.1


async def test_a_child_past_its_intensity_is_parked_and_siblings_go_on(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    crashing, steady = Actor(*bugs(100)), Actor()
    async with supervisor.open():
        child = supervisor.start("crashing", crashing, restart=PERMANENT)
        supervisor.start("steady", steady, restart=PERMANENT)
        await trio.sleep(60)
        assert (child.state, len(crashing.started_at)) == (
            ChildState.PARKED,
            6,
        )  # the first run and five restarts
        assert supervisor.statistics().states == {
            "running": 1,
            "backing_off": 0,
            "parked": 1,
            "stopping": 0,
            "stopped": 0,
        }
        assert not steady.was_cancelled


async def test_a_parked_child_is_retried_slowly_with_an_empty_window(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(8))
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(299)
        assert child.state is ChildState.PARKED
        await trio.sleep(60)
        assert (child.state, len(actor.started_at)) == (ChildState.RUNNING, 9)
    assert actor.started_at[6] - actor.started_at[5] == pytest.approx(300)


async def test_a_parked_child_starts_again_with_an_empty_window(
    random: Random, events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(100))
    async with Supervisor("test", random=random, parked_retry_seconds=5).open() as supervisor:
        supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(9)
    assert len(actor.started_at) == 12  # twice the first run and five restarts


async def test_the_delay_grows_with_each_crash_and_parking_resets_it(
    events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(7))
    async with Supervisor("test", random=Highest()).open() as supervisor:
        supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(400)
    delays = [after - before for before, after in pairwise(actor.started_at)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 300.0, 0.1])


async def test_a_rare_crash_has_the_shortest_delay_again(
    events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(3), after_seconds=100)
    async with Supervisor("test", random=Highest()).open() as supervisor:
        supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(1000)
    assert actor.started_at == pytest.approx([0.0, 100.1, 200.2, 300.3])


async def test_crashes_spread_wider_than_the_window_never_park(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(50), after_seconds=10)
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(1000)
        assert (child.restarts, child.state) == (50, ChildState.RUNNING)
    assert not [event for event in events if event["event"] == "actor_parked"]


async def test_an_essential_child_past_its_limit_ends_the_block(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    sibling = Actor()

    async def serve() -> None:
        async with supervisor.open():
            supervisor.start("sibling", sibling, restart=PERMANENT)
            supervisor.start("vital", Actor(*bugs(100)), restart=PERMANENT, essential=True)
            await trio.sleep_forever()

    with pytest.raises(EssentialChildFailed) as caught:
        await serve()
    assert (caught.value.child, str(caught.value.__cause__)) == ("vital", "number 5")
    assert sibling.was_cancelled


async def test_an_essential_temporary_child_has_no_second_chance(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    async def serve() -> None:
        async with supervisor.open():
            supervisor.start("vital", Actor(Bug("x")), restart=TEMPORARY, essential=True)
            await trio.sleep_forever()

    with pytest.raises(EssentialChildFailed):
        await serve()


async def test_a_failed_inner_supervisor_is_a_crash_of_its_child(
    supervisor: Supervisor, random: Random, events: Events, autojump_clock: MockClock
) -> None:
    generations: list[Actor] = []

    async def run_inner() -> None:
        generations.append(Actor(*bugs(3 if len(generations) == 0 else 0)))
        async with Supervisor("inner", random=random, intensity=Intensity(1, 30.0)).open() as inner:
            inner.start("vital", generations[-1], restart=PERMANENT, essential=True)
            await trio.sleep_forever()

    async with supervisor.open():
        child = supervisor.start("branch", run_inner, restart=PERMANENT)
        await trio.sleep(20)
        assert (child.restarts, child.state) == (1, ChildState.RUNNING)
        assert child.last_error is not None
        assert child.last_error.type == "EssentialChildFailed"
        assert len(generations) == 2


async def test_a_permanent_child_that_returns_is_restarted_and_counted(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*[None] * 100)
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(60)
        assert (child.state, len(actor.started_at)) == (ChildState.PARKED, 6)
        assert child.last_error is not None
        assert child.last_error.type == "ReturnedUnexpectedly"


async def test_a_transient_child_restarts_after_a_crash_but_may_return(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(Bug("x"), None)
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=TRANSIENT)
        await child.wait_ended()
        assert (len(actor.started_at), child.state) == (2, ChildState.STOPPED)
    assert crashes_logged(events) == ["a"]


async def test_a_temporary_child_is_not_restarted_but_stays_visible(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    async with supervisor.open():
        await supervisor.start("a", Actor(Bug("x")), restart=TEMPORARY).wait_ended()
        await trio.sleep(60)
        entry = supervisor.statistics().children["a"]
    assert (entry.state, entry.restarts) == ("stopped", 0)
    assert entry.last_error == Crash("Bug", "x")


async def test_only_the_newest_ended_children_stay_visible(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    async with supervisor.open():
        for n in range(MAX_ENDED_KEPT + 5):
            await supervisor.start(str(n), Actor(None), restart=TEMPORARY).wait_ended()
        names = [child.name for child in supervisor.children()]
    assert names == [str(n) for n in range(5, MAX_ENDED_KEPT + 5)]
