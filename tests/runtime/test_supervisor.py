"""The supervisor: bugs are restarted, counted, parked or passed up; cancellations go where they belong."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
import trio.testing

from runtime.supervisor import (
    MAX_ENDED_KEPT,
    ChildState,
    EssentialChildFailed,
    Intensity,
    Restart,
    Supervisor,
)

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    Events = list[MutableMapping[str, Any]]

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


class Bug(Exception):
    pass


class Actor:
    """A run function that plays a script: each entry of `crashes` is raised by one run, then it runs for ever."""

    def __init__(self, *crashes: Exception | None, after_seconds: float = 0.0) -> None:
        self.script = list(crashes)
        self.after_seconds = after_seconds
        self.started_at: list[float] = []
        self.was_cancelled = False

    async def __call__(self) -> None:
        self.started_at.append(trio.current_time())
        if self.script:
            await trio.sleep(self.after_seconds)
            crash = self.script.pop(0)
            if crash is None:
                return
            raise crash
        try:
            await trio.sleep_forever()
        finally:
            self.was_cancelled = True


def bugs(count: int) -> list[Exception]:
    return [Bug(f"number {n}") for n in range(count)]


@pytest.fixture
def supervisor(random: Random) -> Supervisor:
    return Supervisor("test", random=random)


def crashes_logged(events: Events) -> list[str]:
    return [event["child"] for event in events if event["event"] == "actor_crashed"]


async def test_a_crashed_child_runs_again(supervisor: Supervisor, events: Events, autojump_clock: MockClock) -> None:
    actor = Actor(*bugs(2))
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(20)
        assert (len(actor.started_at), child.restarts, child.state) == (3, 2, ChildState.RUNNING)
        assert child.statistics()["last_error"] == {"type": "Bug", "message": "number 1"}


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
    assert child.last_error == {"type": "Bug", "message": "deep"}
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


async def test_past_the_intensity_a_child_is_parked_and_its_siblings_go_on(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    crashing, steady = Actor(*bugs(100)), Actor()
    async with supervisor.open():
        child = supervisor.start("crashing", crashing, restart=PERMANENT)
        supervisor.start("steady", steady, restart=PERMANENT)
        await trio.sleep(60)
        assert (child.state, len(crashing.started_at)) == (ChildState.PARKED, 6)  # the first run and five restarts
        assert supervisor.statistics()["states"] == {
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


async def test_a_child_parked_for_less_than_the_window_starts_with_an_empty_one_all_the_same(
    random: Random, events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(100))
    async with Supervisor("test", random=random, parked_retry_seconds=5).open() as supervisor:
        supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(9)
    assert len(actor.started_at) == 12  # twice the first run and five restarts


class Highest(Random):
    """A source of chance that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def test_the_delay_grows_with_each_crash_and_starts_anew_after_parking(
    events: Events, autojump_clock: MockClock
) -> None:
    actor = Actor(*bugs(7))
    async with Supervisor("test", random=Highest()).open() as supervisor:
        supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(400)
    delays = [after - before for before, after in pairwise(actor.started_at)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 300.0, 0.1])


async def test_a_rare_crash_has_the_shortest_delay_again(events: Events, autojump_clock: MockClock) -> None:
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


async def test_an_essential_child_past_its_limit_ends_the_block_with_its_cause(
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


async def test_an_inner_supervisor_that_gives_up_is_a_crash_of_the_child_that_opened_it(
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
        assert child.last_error["type"] == "EssentialChildFailed"
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
        assert child.last_error["type"] == "ReturnedUnexpectedly"


async def test_a_transient_child_is_restarted_after_a_crash_but_may_return(
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
        entry = supervisor.statistics()["children"]["a"]
    assert (entry["state"], entry["restarts"]) == ("stopped", 0)
    assert entry["last_error"] == {"type": "Bug", "message": "x"}


async def test_only_the_newest_ended_children_stay_visible(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    async with supervisor.open():
        for n in range(MAX_ENDED_KEPT + 5):
            await supervisor.start(str(n), Actor(None), restart=TEMPORARY).wait_ended()
        names = [child.name for child in supervisor.children()]
    assert names == [str(n) for n in range(5, MAX_ENDED_KEPT + 5)]


async def test_stop_ends_one_child_and_forgets_it(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    one, other = Actor(), Actor()
    async with supervisor.open():
        supervisor.start("one", one, restart=PERMANENT)
        supervisor.start("other", other, restart=PERMANENT)
        await trio.sleep(1)
        assert await supervisor.stop("one", budget_seconds=5)
        assert (one.was_cancelled, other.was_cancelled) == (True, False)
        assert [child.name for child in supervisor.children()] == ["other"]


@pytest.mark.parametrize("wait", [0.0, 20.0, 100.0], ids=["at once", "running", "parked"])
async def test_a_child_can_be_stopped_in_any_state(
    wait: float, supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    async with supervisor.open():
        child = supervisor.start("a", Actor(*bugs(100)), restart=PERMANENT)
        await trio.sleep(wait)
        assert await supervisor.stop("a", budget_seconds=1)
    assert child.state is ChildState.STOPPED


async def test_stopping_what_is_not_there_has_ended_in_time(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    async with supervisor.open():
        assert await supervisor.stop("nobody", budget_seconds=1)


async def test_a_child_that_outlives_its_budget_is_reported_and_ends_later(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    async def flush_slowly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(10)

    async with supervisor.open():
        child = supervisor.start("slow", flush_slowly, restart=PERMANENT)
        await trio.sleep(1)
        assert not await supervisor.stop("slow", budget_seconds=4)
        assert (trio.current_time(), child.state) == (5.0, ChildState.STOPPING)
        with pytest.raises(ValueError, match="living child"):
            supervisor.start("slow", flush_slowly, restart=PERMANENT)
        assert await supervisor.stop("slow", budget_seconds=20)
        assert trio.current_time() == 11.0
    assert [event["event"] for event in events] == ["actor_outlives_its_stop"]


async def test_a_crash_during_the_stop_is_logged_and_not_restarted(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    starts = []

    async def fail_on_the_way_out() -> None:
        starts.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            raise Bug("while cleaning up")

    async with supervisor.open():
        supervisor.start("a", fail_on_the_way_out, restart=PERMANENT)
        await trio.sleep(1)
        assert await supervisor.stop("a", budget_seconds=1)
        await trio.sleep(60)
    assert len(starts) == 1
    assert crashes_logged(events) == ["a"]


async def test_a_run_that_returns_instead_of_passing_on_its_stop_is_not_restarted(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    starts = []

    async def swallow() -> None:
        starts.append(trio.current_time())
        with trio.move_on_after(1000, shield=True):
            await trio.sleep(10)

    async with supervisor.open():
        supervisor.start("a", swallow, restart=PERMANENT)
        await trio.sleep(1)
        assert await supervisor.stop("a", budget_seconds=60)
    assert (len(starts), events) == (1, [])


async def test_a_mixed_group_is_a_crash_and_a_cancellation(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    async def fail_beside_a_cancelled_sibling() -> None:
        async def fail_on_the_way_out() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Bug("beside a Cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_on_the_way_out)
            await trio.sleep_forever()

    with trio.move_on_after(5) as outer:
        async with supervisor.open():
            supervisor.start("a", fail_beside_a_cancelled_sibling, restart=PERMANENT)
            await trio.sleep_forever()
    assert outer.cancelled_caught
    assert crashes_logged(events) == ["a"]


async def test_an_outer_cancellation_reaches_every_child_and_is_not_swallowed(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    actor = Actor()
    with trio.move_on_after(5) as outer:
        async with supervisor.open():
            supervisor.start("a", actor, restart=PERMANENT)
            await trio.sleep_forever()
    assert (outer.cancelled_caught, actor.was_cancelled) == (True, True)


async def test_leaving_the_block_cancels_what_was_not_stopped(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    actor = Actor()
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(1)
    assert (actor.was_cancelled, child.state) == (True, ChildState.STOPPED)


async def test_an_exception_of_the_block_passes_as_it_is(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    actor = Actor()

    async def serve() -> None:
        async with supervisor.open():
            supervisor.start("a", actor, restart=PERMANENT)
            await trio.sleep(1)
            raise Bug("in the block")

    with pytest.raises(Bug, match="in the block"):
        await serve()
    assert actor.was_cancelled


async def test_when_the_block_fails_on_its_way_out_of_an_essential_failure_both_are_told(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    async def serve() -> None:
        async with supervisor.open():
            supervisor.start("vital", Actor(Bug("x")), restart=TEMPORARY, essential=True)
            try:
                await trio.sleep_forever()
            finally:
                raise Bug("on the way out")

    with pytest.raises(ExceptionGroup) as caught:
        await serve()
    assert [type(error) for error in caught.value.exceptions] == [EssentialChildFailed, Bug]


async def test_a_living_namesake_is_refused_and_an_ended_one_replaced(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    async with supervisor.open():
        first = supervisor.start("a", Actor(None), restart=TEMPORARY)
        with pytest.raises(ValueError, match="living child 'a'"):
            supervisor.start("a", Actor(), restart=PERMANENT)
        await first.wait_ended()
        second = supervisor.start("a", Actor(), restart=PERMANENT)
        assert supervisor.children() == (second,)


async def test_a_supervisor_must_be_open_to_start_and_opens_once(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        supervisor.start("a", Actor(), restart=PERMANENT)
    async with supervisor.open():
        with pytest.raises(RuntimeError, match="already open"):
            await supervisor.open().__aenter__()
    async with supervisor.open():
        supervisor.start("a", Actor(), restart=PERMANENT)


async def test_a_child_logs_as_itself_and_not_as_the_request_that_started_it(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    request: ContextVar[str] = ContextVar("request", default="none")
    seen: list[tuple[dict[str, Any], str]] = []

    async def look() -> None:
        seen.append((structlog.contextvars.get_contextvars(), request.get()))

    structlog.contextvars.bind_contextvars(command="serve")
    async with supervisor.open():
        request.set("r-17")
        with structlog.contextvars.bound_contextvars(request_id="r-17"):
            await supervisor.start("workspace-1", look, restart=TEMPORARY).wait_ended()
            assert structlog.contextvars.get_contextvars() == {"command": "serve", "request_id": "r-17"}
    assert seen == [({"actor": "workspace-1"}, "none")]


async def test_statistics_show_no_secret_of_a_crash(
    supervisor: Supervisor, events: Events, autojump_clock: MockClock
) -> None:
    crash = Bug("cannot reach postgres://app:hunter2@db/fleet")
    async with supervisor.open():
        await supervisor.start("a", Actor(crash), restart=TEMPORARY).wait_ended()
        assert "hunter2" not in repr(supervisor.statistics())


async def test_a_child_starts_from_a_sync_callback_deep_in_the_tree(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    actor = Actor()

    async def start_another() -> None:
        supervisor.start("late", actor, restart=PERMANENT)
        await trio.sleep_forever()

    async with supervisor.open():
        supervisor.start("first", start_another, restart=PERMANENT)
        await trio.sleep(1)
        assert len(actor.started_at) == 1
