"""Shutdown: steps in order and within their budgets, one polite signal, and an end in any case."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from runtime.shutdown import ShutdownPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from trio.testing import MockClock

    Events = list[MutableMapping[str, Any]]


async def test_steps_run_in_order_and_report_their_time(
    autojump_clock: MockClock, events: Events
) -> None:
    ran: list[str] = []

    async def drain() -> None:
        ran.append("drain")
        await trio.sleep(2)

    async def close() -> None:
        ran.append("close")

    plan = ShutdownPlan()
    plan.add("drain", 5, drain)
    plan.add("close", 1, close)
    await plan.run()
    assert ran == ["drain", "close"]
    assert plan.report() == {
        "clean": True,
        "steps": [
            {
                "name": "drain",
                "budget_seconds": 5,
                "outcome": "done",
                "duration_seconds": 2.0,
                "error": None,
            },
            {
                "name": "close",
                "budget_seconds": 1,
                "outcome": "done",
                "duration_seconds": 0.0,
                "error": None,
            },
        ],
    }
    assert [(event["event"], event["step"]) for event in events] == [
        ("shutdown_step_ended", "drain"),
        ("shutdown_step_ended", "close"),
    ]


async def test_a_step_over_its_budget_is_cut_and_the_next_one_runs(
    autojump_clock: MockClock, events: Events
) -> None:
    plan = ShutdownPlan()
    plan.add("stuck", 3, trio.sleep_forever)
    plan.add("next", 1, trio.lowlevel.checkpoint)
    await plan.run()
    assert [step["outcome"] for step in plan.report()["steps"]] == ["over_budget", "done"]
    assert trio.current_time() == 3.0
    assert [event["event"] for event in events] == [
        "shutdown_step_over_budget",
        "shutdown_step_ended",
    ]


async def test_a_step_that_fails_is_logged_and_the_next_one_runs(
    autojump_clock: MockClock, events: Events
) -> None:
    async def fail() -> None:
        raise ExceptionGroup("some", [ValueError("no")])

    plan = ShutdownPlan()
    plan.add("failing", 3, fail)
    plan.add("next", 1, trio.lowlevel.checkpoint)
    await plan.run()
    assert [step["outcome"] for step in plan.report()["steps"]] == ["failed", "done"]
    assert not plan.report()["clean"]
    assert events[0]["event"] == "shutdown_step_failed"


async def test_an_outer_cancellation_waits_until_the_steps_are_done(
    autojump_clock: MockClock, events: Events
) -> None:
    async def flush() -> None:
        await trio.sleep(4)

    plan = ShutdownPlan()
    plan.add("flush", 5, flush)
    plan.add("close", 5, flush)
    with trio.CancelScope() as outer:
        outer.cancel()
        await plan.run()
        await trio.lowlevel.checkpoint()
    assert outer.cancelled_caught
    assert (plan.report()["clean"], trio.current_time()) == (True, 8.0)


def test_a_step_needs_a_budget() -> None:
    with pytest.raises(ValueError, match="needs a budget"):
        ShutdownPlan().add("x", 0, trio.lowlevel.checkpoint)


async def test_after_the_plan_the_watchdog_is_home(
    autojump_clock: MockClock, events: Events
) -> None:
    ended: list[int] = []
    plan = ShutdownPlan(margin_seconds=30, end_process=ended.append)
    plan.add("quick", 0.01, trio.lowlevel.checkpoint)
    await plan.run()
    plan.disarm()
    assert plan._watchdog is not None
    plan._watchdog._thread.join(5)
    assert not plan._watchdog._thread.is_alive()
    assert ended == []


def run_script(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def stuck_process() -> Iterator[subprocess.Popen[str]]:
    process = run_script("""
        import time, trio
        from runtime.shutdown import ShutdownPlan, at_hard_end

        async def block_the_loop():
            while True:
                time.sleep(0.01)

        plan = ShutdownPlan(margin_seconds=0.1, exit_code=70)
        plan.add("stuck", 0.1, block_the_loop)
        with at_hard_end(lambda: print("last act", flush=True)):
            trio.run(plan.run)
    """)
    yield process
    process.kill()
    process.communicate()


def test_the_watchdog_ends_a_stuck_loop_with_every_stack(
    stuck_process: subprocess.Popen[str],
) -> None:
    output, errors = stuck_process.communicate(timeout=20)
    assert (stuck_process.returncode, output) == (70, "last act\n")
    assert "shutdown took longer than 0.2 s" in errors
    assert "block_the_loop" in errors


@pytest.fixture
def waiting_process() -> Iterator[subprocess.Popen[str]]:
    """A process that says each thing it does, and after the first signal takes its time."""
    process = run_script("""
        import os, trio, trio.testing
        from runtime.shutdown import at_hard_end, wait_for_stop_signal

        def fail():
            raise LookupError("ours")

        async def announce():
            await trio.testing.wait_all_tasks_blocked()
            print("waiting", flush=True)

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(announce)
                number = await wait_for_stop_signal()
                print(number.name, flush=True)
                await trio.sleep(0.6)
                with at_hard_end(lambda: print("over by then", flush=True)):
                    pass
                with at_hard_end(fail), at_hard_end(lambda: os.write(1, b"last act\\n")):
                    print("still stopping", flush=True)
                    await trio.sleep(20)

        trio.run(main)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    yield process
    process.kill()
    process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("first", "second"), [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGINT"), ("SIGTERM", "SIGINT")]
)
def test_a_second_signal_ends_the_process_hard(
    first: str, second: str, waiting_process: subprocess.Popen[str]
) -> None:
    waiting_process.send_signal(signal.Signals[first])
    assert said(waiting_process) == first
    assert said(waiting_process) == "still stopping"
    waiting_process.send_signal(signal.Signals[second])
    assert waiting_process.wait(timeout=10) == 128 + signal.Signals[second]
    assert said(waiting_process) == "last act"  # whatever became of the one before it


def test_a_signal_sent_twice_at_once_is_one_request(waiting_process: subprocess.Popen[str]) -> None:
    waiting_process.send_signal(signal.SIGTERM)
    assert said(waiting_process) == "SIGTERM"
    waiting_process.send_signal(signal.SIGTERM)
    assert said(waiting_process) == "still stopping"


def test_a_cancelled_wait_puts_the_former_handlers_back() -> None:
    process = run_script("""
        import signal, trio
        from runtime.shutdown import wait_for_stop_signal

        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

        async def main():
            with trio.move_on_after(0.01):
                await wait_for_stop_signal()

        trio.run(main)
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
        print("as before")
    """)
    output, errors = process.communicate(timeout=20)
    assert (output, errors, process.returncode) == ("as before\n", "", 0)
