"""Ending the process: on request, in steps, and in any case.

Owns the stop signal, `ShutdownPlan` (named steps, each with a budget) and its watchdog. It must never know what a step
does; the order is the caller's.
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
    """For the length of the block: what to do at once when this process ends without order, by a second signal or by
    the watchdog. For what would outlive it otherwise. It may neither wait nor take a lock.
    """
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


def end_hard(status: int) -> NoReturn:
    """End the process here and now; of everything that has been begun only the acts of `at_hard_end` are done."""
    for act in tuple(_last_acts):
        with suppress(Exception):
            act()
    os._exit(status)


async def wait_for_stop_signal() -> signal.Signals:
    """Wait for SIGTERM or SIGINT and return which. Main thread only; waits for ever, as a service does.

    From then on a further signal ends the process at once with status 128 + its number. One that follows within half a
    second counts as the same request, because `timeout` and its like signal the process and then its group. If the
    wait is cancelled, the handlers that were there before are back.
    """
    stopping = _Stopping()
    with stopping.hard_end_installed(), trio.open_signal_receiver(*STOP_SIGNALS) as arrivals:
        async for number in arrivals:
            stopping.requested_at = time.monotonic()
            return signal.Signals(number)
    raise AssertionError("a signal receiver does not end by itself")


class _Stopping:
    """The handlers below trio's receiver: they take over, without a gap, when it has delivered the first signal."""

    def __init__(self) -> None:
        self.requested_at: float | None = None

    @contextmanager
    def hard_end_installed(self) -> Iterator[None]:
        # Installed before the receiver, so that leaving the receiver restores these and not the defaults.
        before = {number: signal.signal(number, self._end_hard) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            if self.requested_at is None:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _end_hard(self, number: int, _frame: FrameType | None) -> None:
        if self.requested_at is not None and time.monotonic() - self.requested_at < SAME_REQUEST_SECONDS:
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
    """Steps that run in the order in which they were added, each within its own budget, whatever happens to the others.

    While it runs, a watchdog thread stands by: when the sum of the budgets plus `margin_seconds` has passed on the
    real clock, it prints every thread's stack to standard error and ends the process with `exit_code`. That covers a
    loop that no longer turns and a step that shields itself; not native code that never releases the interpreter.
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
            raise ValueError(f"step {name!r} needs a budget, not {budget_seconds}")
        self._steps.append(_Step(name, budget_seconds, step))

    async def run(self, *, keep_watch: bool = False) -> None:
        """Run every step; returns after at most the sum of the budgets, if the steps honour cancellation.

        Steps are shielded from an outer cancellation, which is delivered after the last one. A step that raises is
        logged and the next one runs. With `keep_watch` the watchdog stays armed afterwards: for a process that is about
        to end.
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
        """Send the watchdog home."""
        if self._watchdog is not None:
            self._watchdog.dismiss()

    def report(self) -> dict[str, Any]:
        """Every step with its outcome (waiting, running, done, over_budget, failed), and whether all were in order."""
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
                step.error = describe_error(errors.exceptions[0])
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
    """A thread, because the event loop may be what is stuck."""

    def __init__(self, seconds: float, exit_code: int, end_process: Callable[[int], object]) -> None:
        self._seconds = seconds
        self._exit_code = exit_code
        self._end_process = end_process
        self._dismissed = threading.Event()
        # A daemon, so that it never keeps alive the process it is to end.
        self._thread = threading.Thread(target=self._watch, name="shutdown-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def dismiss(self) -> None:
        self._dismissed.set()

    def _watch(self) -> None:
        if self._dismissed.wait(self._seconds):
            return
        # Not through the logs: whoever is stuck may hold their lock.
        with suppress(Exception):
            os.write(2, f"shutdown took longer than {self._seconds:g} s; ending the process\n".encode())
            faulthandler.dump_traceback(2, all_threads=True)
        self._end_process(self._exit_code)
