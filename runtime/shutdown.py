"""Ending the process: on request, in steps, and by force if steps do not end.

This module owns the stop signal, `ShutdownPlan` (named steps, each with a budget) and its watchdog.
It must never know what a step does; the caller sets the order.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from runtime.exception_groups import first_leaf
from runtime.logs import describe_error, get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

    from structlog.typing import FilteringBoundLogger

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME_REQUEST_SECONDS = 0.5


_last_acts: list[Callable[[], object]] = []


@contextmanager
def at_hard_end(act: Callable[[], object]) -> Iterator[None]:
    """Register an act for a forced end of the process, for the length of the block.

    A second signal or the watchdog forces the end. The act must end what would otherwise outlive
    the process. It must neither wait nor take a lock.
    """
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


def end_hard(status: int) -> NoReturn:
    """End the process at once; run nothing but the acts of `at_hard_end`."""
    for act in tuple(_last_acts):
        with suppress(Exception):
            act()
    os._exit(status)


async def wait_for_stop_signal() -> signal.Signals:
    """Wait for SIGTERM or SIGINT and return which one came.

    Main thread only. It has no deadline, because a service runs until it is stopped. From then on,
    a further signal ends the process at once with status 128 + its number. A signal that follows
    within half a second counts as the same request, because `timeout` and similar tools signal the
    process and then its group. If the wait is cancelled, the former handlers are restored.
    """
    stopping = _Stopping()
    with stopping.hard_end_installed(), trio.open_signal_receiver(*STOP_SIGNALS) as arrivals:
        async for number in arrivals:
            stopping.requested_at = time.monotonic()
            return signal.Signals(number)
    raise AssertionError("a signal receiver does not end by itself")


class _Stopping:
    """The handlers below trio's receiver.

    They take over, without a gap, when the receiver has delivered the first signal.
    """

    def __init__(self) -> None:
        self.requested_at: float | None = None

    @contextmanager
    def hard_end_installed(self) -> Iterator[None]:
        # Installed before the receiver, so that leaving the receiver restores these handlers and
        # not the defaults.
        before = {number: signal.signal(number, self._end_hard) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            if self.requested_at is None:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _end_hard(self, number: int, _frame: FrameType | None) -> None:
        if (
            self.requested_at is not None
            and time.monotonic() - self.requested_at < SAME_REQUEST_SECONDS
        ):
            return
        end_hard(128 + number)


@dataclass(slots=True)
class _Step:
    name: str
    budget_seconds: float
    run: Callable[[], Awaitable[None]]
    outcome: str = "waiting"  # then running, and at last done, over_budget or failed
    duration_seconds: float | None = None
    error: str | None = None

    def report(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "budget_seconds": self.budget_seconds,
            "outcome": self.outcome,
            "duration_seconds": self.duration_seconds,
            "error": self.error,
        }


@dataclass
class ShutdownPlan:
    """Steps that run in the order in which they were added, each within its own budget.

    Every step runs, even if others fail. While the plan runs, a watchdog thread waits. When the sum
    of the budgets plus `margin_seconds` has passed on the real clock, it prints every thread's
    stack to standard error and ends the process with `exit_code`. That covers an event loop that is
    stuck and a step that shields itself, but not native code that never releases the interpreter.
    """

    margin_seconds: float = 5.0
    exit_code: int = 1
    log: FilteringBoundLogger = field(default_factory=lambda: get_logger("shutdown"))
    end_process: Callable[[int], object] = end_hard
    _steps: list[_Step] = field(default_factory=list)
    _watchdog: _Watchdog | None = None

    def add(self, name: str, budget_seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Append a step. Raises ValueError for a budget that is not positive."""
        if budget_seconds <= 0:
            raise ValueError(f"step {name!r} needs a budget above 0 seconds, not {budget_seconds}")
        self._steps.append(_Step(name, budget_seconds, step))

    async def run(self, *, keep_watch: bool = False) -> None:
        """Run every step. Takes at most the sum of the budgets, if the steps honour cancellation.

        Steps are shielded from an outer cancellation, which is delivered after the last one. A step
        that raises is logged and the next one runs. With `keep_watch` the watchdog stays armed
        afterwards, for a process that is about to end.
        """
        self._watchdog = _Watchdog(self._total_seconds(), self.exit_code, self.end_process)
        self._watchdog.start()
        try:
            for step in self._steps:
                await self._run_step(step)
        finally:
            if not keep_watch:
                self.disarm()

    def disarm(self) -> None:
        """Stop the watchdog."""
        if self._watchdog is not None:
            self._watchdog.dismiss()

    def report(self) -> dict[str, Any]:
        """Return every step with its outcome, and whether all of them are done.

        Outcomes: waiting, running, done, over_budget, failed.
        """
        steps = [step.report() for step in self._steps]
        return {"clean": all(step["outcome"] == "done" for step in steps), "steps": steps}

    def _total_seconds(self) -> float:
        return sum(step.budget_seconds for step in self._steps) + self.margin_seconds

    async def _run_step(self, step: _Step) -> None:
        began = trio.current_time()
        step.outcome = "running"
        with trio.move_on_after(step.budget_seconds, shield=True) as scope:
            try:
                await step.run()
            except* Exception as errors:
                step.error = describe_error(first_leaf(errors))
                self.log.error("shutdown_step_failed", step=step.name, exc_info=errors)
        step.duration_seconds = trio.current_time() - began
        late = scope.cancelled_caught or step.duration_seconds > step.budget_seconds
        step.outcome = "failed" if step.error else "over_budget" if late else "done"
        self.log.log(
            logging.WARNING if late else logging.INFO,
            "shutdown_step_over_budget" if late else "shutdown_step_ended",
            step=step.name,
            outcome=step.outcome,
            duration_seconds=round(step.duration_seconds, 3),
            budget_seconds=step.budget_seconds,
        )


class _Watchdog:
    """Ends the process after a time. It is a thread, because the event loop may be stuck."""

    def __init__(
        self, seconds: float, exit_code: int, end_process: Callable[[int], object]
    ) -> None:
        self._seconds = seconds
        self._exit_code = exit_code
        self._end_process = end_process
        self._dismissed = threading.Event()
        # A daemon thread, so that it never keeps alive the process that it is to end.
        self._thread = threading.Thread(target=self._watch, name="shutdown-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def dismiss(self) -> None:
        self._dismissed.set()

    def _watch(self) -> None:
        if self._dismissed.wait(self._seconds):
            return
        # Not through the logs: a stuck thread may hold their lock.
        with suppress(Exception):
            os.write(
                2, f"shutdown took longer than {self._seconds:g} s; ending the process\n".encode()
            )
            faulthandler.dump_traceback(2, all_threads=True)
        self._end_process(self._exit_code)
