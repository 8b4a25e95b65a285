"""Supervision: restart named children by rule when a bug crashes them.

This module owns `Supervisor`: a flat set of named children in one nursery. It must never handle
environment faults, know what a child does, or swallow a cancellation other than the stop of one
child. Actors back off from environment faults themselves; one that escapes is a bug in the actor.

A tree is made of supervisors inside children: a child's `run` opens another supervisor. Limits
multiply going down.

**Restart rule.** Any Exception that escapes `run`, alone or in a group, is a crash. It is logged
once with its traceback, counted in a sliding window, and followed by a restart after a short fully
jittered delay. If there are more crashes than the intensity allows within its window, the child is
*parked*: visible, and retried every `parked_retry_seconds` with an empty window, while its siblings
go on. An *essential* child is not parked: `open()` raises `EssentialChildFailed` instead, and the
supervisor above, or the process, decides. (These are OTP's supervisor principles, with parking
instead of collapse.)
"""

from __future__ import annotations

import contextvars
import enum
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from runtime.backoff import Backoff
from runtime.child_statistics import (
    ChildStatistics,
    Crash,
    SupervisorStatistics,
    SupervisorTotals,
)
from runtime.clock import Clock, SystemClock
from runtime.exception_groups import only_leaf
from runtime.instants import format_instant
from runtime.logs import get_logger
from runtime.redaction import redact_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime
    from random import Random

    from structlog.typing import FilteringBoundLogger

RESTART_BASE_SECONDS = 0.1
# Low, so that a child that crashes at each start exceeds the default intensity within its window
# even if its delays are drawn long.
RESTART_CAP_SECONDS = 2.0
MAX_ENDED_KEPT = 100
MAX_MESSAGE_LENGTH = 500


class Restart(enum.Enum):
    """The rule for starting a child again after its `run` ended."""

    PERMANENT = "permanent"
    """Always: a return counts like a crash."""
    TRANSIENT = "transient"
    """After a crash only: a return is the end of its work."""
    TEMPORARY = "temporary"
    """Never: a crash is logged and stays visible."""


class ChildState(enum.Enum):
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    PARKED = "parked"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Intensity:
    """The number of restarts tolerated within a time; one more is not."""

    restarts: int
    within_seconds: float


class EssentialChildFailed(Exception):
    """An essential child is past its limit. `__cause__` is its last crash.

    An essential child is one without which the rest cannot work.
    """

    def __init__(self, child: str) -> None:
        super().__init__(f"essential child {child!r} crashed more often than its supervisor allows")
        self.child = child


class ReturnedUnexpectedly(Exception):
    """The `run` of a permanent child returned."""


class Child:
    """One supervised child, as others may see it. Only `Supervisor.start` makes one."""

    # A shard has tens of thousands.
    __slots__ = (
        *("name", "restart", "essential", "state", "restarts", "last_error", "_run"),
        *("_last_crash", "_scope", "_ended", "_clock", "_since", "_crashes"),
    )

    def __init__(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        restart: Restart,
        *,
        essential: bool,
        clock: Clock,
    ) -> None:
        self.name = name
        self.restart = restart
        self.essential = essential
        self.state = ChildState.RUNNING
        self.restarts = 0
        self.last_error: Crash | None = None
        self._run = run
        # essential only: an exception keeps its frames alive
        self._last_crash: Exception | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._clock = clock
        self._since: datetime = clock.wall()
        self._crashes: list[float] = []

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Wait until the child will not run again.

        Has no deadline of its own: a permanent child ends only when it is stopped.
        """
        await self._ended.wait()

    def statistics(self) -> ChildStatistics:
        return ChildStatistics(
            state=self.state.value,
            restart=self.restart.value,
            essential=self.essential,
            restarts=self.restarts,
            since=format_instant(self._since, "microseconds"),
            last_error=self.last_error,
        )

    def _enter(self, state: ChildState) -> None:
        if self.state is ChildState.STOPPING and state is not ChildState.STOPPED:
            return
        self.state = state
        self._since = self._clock.wall()

    def _count_crash(self, intensity: Intensity) -> bool:
        """Note a crash now; return whether there are now too many within the window."""
        now = self._clock.monotonic()
        since = now - intensity.within_seconds
        self._crashes = [*(at for at in self._crashes if at > since), now]
        return len(self._crashes) > intensity.restarts


class Supervisor:
    """Runs named children and restarts them by the rule in the module's docstring.

    Use as `async with supervisor.open():`; leaving the block cancels the children that are still
    running.
    """

    def __init__(
        self,
        name: str,
        *,
        random: Random,
        intensity: Intensity = Intensity(restarts=5, within_seconds=30.0),
        parked_retry_seconds: float = 300.0,
        log: FilteringBoundLogger | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._random = random
        self._intensity = intensity
        self._parked_retry_seconds = parked_retry_seconds
        self._log = log or get_logger("supervisor")
        self._clock: Clock = clock or SystemClock()
        self._children: dict[str, Child] = {}
        # the newest MAX_ENDED_KEPT that ended by themselves
        self._ended: OrderedDict[str, Child] = OrderedDict()
        self._nursery: trio.Nursery | None = None
        self._context = contextvars.copy_context()
        self._failure: EssentialChildFailed | None = None
        self._crashes = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Supervisor]:
        """Own the children for the length of the block.

        May be opened again after the block has ended, and then starts empty. If an essential child
        is past its limit, cancels the block and raises EssentialChildFailed, not wrapped in a
        group. An exception of the block itself passes through unchanged. If both happen, raises a
        group of both.
        """
        if self._nursery is not None:
            raise RuntimeError(f"supervisor {self.name!r} is already open")
        self._failure = None
        self._ended.clear()
        self._context = contextvars.copy_context()
        block_error: Exception | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    yield self
                except Exception as error:
                    block_error = error
                self._nursery.cancel_scope.cancel("the supervisor's block ended")
        finally:
            self._nursery = None
        _raise_what_happened(self.name, self._failure, block_error)

    def start(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        restart: Restart,
        essential: bool = False,
    ) -> Child:
        """Start a child, from anywhere in the tree. Never blocks.

        Its name is free again when it has ended.

        The child inherits the context variables of the task that opened the supervisor, not of the
        caller: a request that starts an actor must not leave its ids on it. Raises ValueError if a
        living child has the name, and RuntimeError if the supervisor is not open.
        """
        if self._nursery is None:
            raise RuntimeError(f"supervisor {self.name!r} is not open")
        if name in self._children:
            raise ValueError(f"supervisor {self.name!r} already has a living child {name!r}")
        self._ended.pop(name, None)
        child = Child(name, run, restart, essential=essential, clock=self._clock)
        self._children[name] = child
        self._context.copy().run(self._start_task, child)
        return child

    async def stop(self, name: str, *, budget_seconds: float) -> bool:
        """Cancel one child and wait for its end; return whether it ended within the budget.

        Also returns True for an unknown child. After False the child is cancelled and still there,
        in state stopping; calling again waits again.
        """
        self._ended.pop(name, None)
        child = self._children.get(name)
        if child is None:
            return True
        child._enter(ChildState.STOPPING)
        child._scope.cancel("stopped by its supervisor")
        with trio.move_on_after(budget_seconds):
            await child.wait_ended()
        self._ended.pop(name, None)
        if not child.has_ended:
            self._log.warning(
                "actor_outlives_its_stop",
                supervisor=self.name,
                child=name,
                budget_seconds=budget_seconds,
            )
        return child.has_ended

    def children(self) -> tuple[Child, ...]:
        """Return the living children, then the newest 100 of those that ended by themselves."""
        return (*self._children.values(), *self._ended.values())

    def totals(self) -> SupervisorTotals:
        """Return the numbers of its children. Cheap, however many there are."""
        counted = Counter(child.state for child in self.children())
        states = {state.value: counted[state] for state in ChildState}
        return SupervisorTotals(self.name, states, self._crashes)

    def statistics(self) -> SupervisorStatistics:
        totals = self.totals()
        children = {child.name: child.statistics() for child in self.children()}
        return SupervisorStatistics(totals.name, totals.states, totals.crashes, children)

    def _start_task(self, child: Child) -> None:
        assert self._nursery is not None  # noqa: S101 - start() has just checked it
        self._nursery.start_soon(self._supervise, child, name=f"{self.name}/{child.name}")

    async def _supervise(self, child: Child) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(actor=child.name)
        try:
            with child._scope:
                await self._run_until_ended(child)
        finally:
            self._bury(child)

    def _bury(self, child: Child) -> None:
        child._enter(ChildState.STOPPED)
        child._ended.set()
        del self._children[child.name]
        self._ended[child.name] = child
        while len(self._ended) > MAX_ENDED_KEPT:
            self._ended.popitem(last=False)

    async def _run_until_ended(self, child: Child) -> None:
        backoff = Backoff(self._random, RESTART_BASE_SECONDS, RESTART_CAP_SECONDS)
        while await self._run_once(child):
            if child._count_crash(self._intensity):
                if child.essential:
                    self._fail(child)
                    return
                await self._park(child)
            else:
                if len(child._crashes) == 1:  # after a quiet time, or after parking
                    backoff.reset()
                child._enter(ChildState.BACKING_OFF)
                await trio.sleep(backoff.next_delay())
            child.restarts += 1
            child._enter(ChildState.RUNNING)

    async def _run_once(self, child: Child) -> bool:
        """Run the child to its end; return whether its restart rule asks for another run."""
        crash: Exception | None = None
        try:
            await child._run()
        except* Exception as group:
            # In a mixed group only the exceptions are handled here; a Cancelled beside them is
            # raised on.
            crash = only_leaf(group)
            self._note_crash(child, crash)
        if child._scope.cancel_called:
            return False
        if crash is None and child.restart is Restart.PERMANENT:
            crash = ReturnedUnexpectedly(f"{child.name} is permanent, but its run returned")
            self._note_crash(child, crash)
        if child.restart is Restart.TEMPORARY and crash is not None and child.essential:
            self._fail(child)
        return crash is not None and child.restart is not Restart.TEMPORARY

    def _note_crash(self, child: Child, crash: Exception) -> None:
        self._crashes += 1
        message = redact_text(str(crash))[:MAX_MESSAGE_LENGTH]
        child.last_error = Crash(type(crash).__name__, message)
        child._last_crash = crash if child.essential else None
        self._log.error(
            "actor_crashed",
            supervisor=self.name,
            child=child.name,
            restarts=child.restarts,
            error_type=type(crash).__name__,
            exc_info=crash if crash.__traceback__ is not None else None,
        )

    async def _park(self, child: Child) -> None:
        child._crashes.clear()
        child._enter(ChildState.PARKED)
        self._log.error(
            "actor_parked",
            supervisor=self.name,
            child=child.name,
            retry_in_seconds=self._parked_retry_seconds,
        )
        await trio.sleep(self._parked_retry_seconds)

    def _fail(self, child: Child) -> None:
        if self._failure is None:
            self._failure = EssentialChildFailed(child.name)
            self._failure.__cause__ = child._last_crash
        self._log.critical("essential_actor_failed", supervisor=self.name, child=child.name)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel("an essential child failed")


def _raise_what_happened(
    name: str, failure: Exception | None, block_error: Exception | None
) -> None:
    if failure is not None and block_error is not None:
        raise ExceptionGroup(
            f"supervisor {name!r}: an essential child and the block failed", [failure, block_error]
        )
    if failure is not None:
        raise failure
    if block_error is not None:
        raise block_error
