"""Waiting for instants and for beats.

Owns `sleep_until` (an instant of a wall or shared clock) and `Every` (a steady beat on the monotonic clock). It must
never read the machine's clocks itself: every reading comes from the `Clock` it was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from datetime import datetime

    from runtime.clock import Clock


async def sleep_until(clock: Clock, instant: datetime, *, recheck_seconds: float = 60.0) -> float:
    """Wait until `clock.wall()` reaches the instant; return by how many seconds it was passed (0.0 or more).

    Sleeps in pieces of at most `recheck_seconds`: a step of the wall clock or a suspend of the machine, which no
    monotonic sleep notices, makes this late by at most one piece. A checkpoint even when the instant has passed. Has
    no deadline of its own; it ends when its clock says so. Raises what the clock raises (`ClockUnknown`).
    """
    remaining = (instant - clock.wall()).total_seconds()
    if remaining <= 0:
        await trio.lowlevel.checkpoint()
    while remaining > 0:
        await trio.sleep(min(remaining, recheck_seconds))
        remaining = (instant - clock.wall()).total_seconds()
    return -remaining


@dataclass(frozen=True, slots=True)
class Tick:
    """One beat: how late it was taken, and how many beats before it were skipped because nobody came."""

    late_seconds: float
    missed: int


class Every:
    """A beat every `seconds`, on a grid fixed at construction, so that it neither drifts nor bunches.

    The first beat is one period after construction. A caller that comes late gets the newest due beat at once, with the
    older ones counted as missed; it never gets a burst.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        if seconds <= 0:
            raise ValueError(f"a period must be positive, not {seconds}")
        self._clock = clock
        self._seconds = seconds
        self._anchor = clock.monotonic()
        self._taken = 0

    async def wait_for_next(self) -> Tick:
        """Wait for the next beat. Always a checkpoint; waits at most one period; cancelling it loses no beat."""
        due = self._taken + 1
        await trio.sleep(max(0.0, self._due_at(due) - self._clock.monotonic()))
        now = self._clock.monotonic()
        newest = max(due, int((now - self._anchor) // self._seconds))
        self._taken = newest
        return Tick(late_seconds=max(0.0, now - self._due_at(newest)), missed=newest - due)

    def _due_at(self, beat: int) -> float:
        return self._anchor + beat * self._seconds
