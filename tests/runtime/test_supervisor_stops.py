"""The supervisor: stops and cancellations reach children, and children start as themselves."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio

from runtime.supervisor import ChildState, EssentialChildFailed, Restart, Supervisor
from tests.runtime.scripted_actors import Actor, Bug, bugs, crashes_logged

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.runtime.scripted_actors import Events

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


async def test_stop_ends_one_child_and_forgets_it(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
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


async def test_stopping_an_unknown_child_counts_as_ended_in_time(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    async with supervisor.open():
        assert await supervisor.stop("nobody", budget_seconds=1)


async def test_a_child_over_its_budget_is_reported_and_ends_later(
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


async def test_a_run_that_returns_when_stopped_is_not_restarted(
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


async def test_an_outer_cancellation_reaches_every_child_and_passes_on(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    actor = Actor()
    with trio.move_on_after(5) as outer:
        async with supervisor.open():
            supervisor.start("a", actor, restart=PERMANENT)
            await trio.sleep_forever()
    assert (outer.cancelled_caught, actor.was_cancelled) == (True, True)


async def test_leaving_the_block_cancels_children_that_still_run(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    actor = Actor()
    async with supervisor.open():
        child = supervisor.start("a", actor, restart=PERMANENT)
        await trio.sleep(1)
    assert (actor.was_cancelled, child.state) == (True, ChildState.STOPPED)


async def test_an_exception_of_the_block_passes_as_it_is(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    actor = Actor()

    async def serve() -> None:
        async with supervisor.open():
            supervisor.start("a", actor, restart=PERMANENT)
            await trio.sleep(1)
            raise Bug("in the block")

    with pytest.raises(Bug, match="in the block"):
        await serve()
    assert actor.was_cancelled


async def test_an_essential_failure_and_the_blocks_own_are_both_raised(
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


async def test_a_child_does_not_log_as_the_request_that_started_it(
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
            assert structlog.contextvars.get_contextvars() == {
                "command": "serve",
                "request_id": "r-17",
            }
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
