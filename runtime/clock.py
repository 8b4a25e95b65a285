"""Clocks: the only module that reads the wall clock.

This module owns the `Clock` protocol, its real and virtual forms, and `SharedClock`. `SharedClock`
maps this process's monotonic readings to the time of the database, the one clock that all shards
share. Nothing here sleeps; waiting for an instant is in `runtime/timers.py`. No other module may
call `datetime.now`, `time.time` or the like.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import trio

from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTAIN_WITHIN_SECONDS = 1.0
MOVED_SECONDS = 0.005  # less than this is no reason to set the deadlines of 10,000 workspaces anew
DRIFT_PER_SECOND = 100e-6  # quartz is good to about 50 ppm either way; this is for both clocks


class Clock(Protocol):
    """A clock with two readings: one for durations, one for instants that others will see."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary point.

        Never steps back. May stand still while the machine is suspended.
        """
        ...

    def wall(self) -> datetime:
        """Return the instant now, aware, in UTC. May step in either direction."""
        ...


class SystemClock:
    """The machine's clocks.

    `monotonic` is `trio.current_time()`, so that deadlines and readings are on the same scale. It
    needs a running trio loop (RuntimeError outside). `wall` works anywhere, in any thread.
    """

    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """A wall clock that follows trio's clock, for tests and simulation under `MockClock`.

    `start` is the instant at which trio's clock reads `origin`. Every `MockClock` begins at 0.0.
    With the default origin, `wall()` is therefore `start` plus the virtual time elapsed, no matter
    when the object was made. Needs a running trio loop.
    """

    def __init__(self, start: datetime, *, origin: float = 0.0) -> None:
        self._start = _aware_utc(start)
        self._origin = origin

    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> datetime:
        return self._start + timedelta(seconds=trio.current_time() - self._origin)

    def step(self, seconds: float) -> None:
        """Move only the wall clock, as an operator or a time daemon would."""
        self._start += timedelta(seconds=seconds)


class ClockUnknown(EnvironmentFault):
    """The shared clock was read before its first observation."""


@dataclass(frozen=True, slots=True)
class _Sample:
    monotonic: float  # the midpoint of the round trip
    server_time: datetime
    half_round_trip: float

    def at(self, monotonic: float) -> datetime:
        return self.server_time + timedelta(seconds=monotonic - self.monotonic)

    def uncertainty_at(self, monotonic: float) -> float:
        return self.half_round_trip + DRIFT_PER_SECOND * abs(monotonic - self.monotonic)

    def contradicts(self, other: _Sample) -> bool:
        """Return whether no single offset fits the error bounds of both samples.

        The offset is compared at the midpoint of this sample.
        """
        apart = abs((self.server_time - other.at(self.monotonic)).total_seconds())
        return apart > self.half_round_trip + other.uncertainty_at(self.monotonic)


@dataclass(frozen=True, slots=True)
class ClockStatistics:
    """How well this process knows the database's time."""

    observations: int  # total
    steps: int  # how often one of the two clocks was seen to step
    is_certain: bool  # to a second
    uncertainty_seconds: float | None  # either way; None before the first observation
    sample_age_seconds: float | None  # None before the first observation


class SharedClock:
    """Database time, read through this process's monotonic clock.

    It is a `Clock` itself; its wall clock is the database's.

    Each observation is one round trip: the monotonic seconds at which it was sent and received, and
    the time that the server's clock showed between. The server may have read its clock at any
    moment of the trip. The midpoint is therefore right to half the trip, and its uncertainty grows
    by 100 ppm with age. The tightest sample is kept until a newer one is tighter than the kept one
    has become. A newer sample that contradicts it replaces it at once, because one of the two
    clocks then stepped (failover, suspend).

    Readings are not monotonic: a better sample may move them back by at most the former
    uncertainty.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sample: _Sample | None = None
        self._observations = 0
        self._steps = 0
        self._deadlines: dict[trio.CancelScope, datetime] = {}
        self._armed: _Sample | None = None  # under which all deadlines were set

    def observe(self, sent_at: float, received_at: float, server_time: datetime) -> None:
        """Add one round trip.

        Raises ValueError for a naive time or a trip that ends before it began.
        """
        if received_at < sent_at:
            raise ValueError(f"a round trip cannot end ({received_at}) before it began ({sent_at})")
        half_round_trip = (received_at - sent_at) / 2
        sample = _Sample(sent_at + half_round_trip, _aware_utc(server_time), half_round_trip)
        self._observations += 1
        held = self._sample
        if held is None:
            self._sample = self._armed = sample
        elif sample.contradicts(held):
            self._steps += 1
            self._replace(sample)
        elif sample.half_round_trip <= held.uncertainty_at(sample.monotonic):
            self._replace(sample)

    def _replace(self, sample: _Sample) -> None:
        """Take the sample; set the deadlines anew once the clock has moved since they were set.

        Many small moves add up: a clock may be slewed.
        """
        self._sample = sample
        assert self._armed is not None  # noqa: S101 - the first sample armed it
        moved = sample.server_time - self._armed.at(sample.monotonic)
        if abs(moved.total_seconds()) >= MOVED_SECONDS:
            self._armed = sample
            for scope, instant in self._deadlines.items():
                scope.deadline = self._monotonic_at(instant)

    @contextmanager
    def deadline(self, instant: datetime) -> Iterator[trio.CancelScope]:
        """Cancel the block when this clock reaches the instant, also if a clock moves meanwhile.

        A move is noticed with the next observation, and then right to twice MOVED_SECONDS. Raises
        ClockUnknown like `now`.
        """
        with trio.CancelScope(deadline=self._monotonic_at(instant)) as scope:
            self._deadlines[scope] = instant
            try:
                yield scope
            finally:
                del self._deadlines[scope]

    def _monotonic_at(self, instant: datetime) -> float:
        now = self._clock.monotonic()
        return now + (instant - self.at(now)).total_seconds()

    def now(self) -> datetime:
        """Return database time now. Raises ClockUnknown before the first observation."""
        return self.at(self._clock.monotonic())

    def at(self, monotonic: float) -> datetime:
        """Return the database time of one of this process's monotonic readings.

        Raises ClockUnknown like `now`.
        """
        if self._sample is None:
            raise ClockUnknown("the database's clock has not been observed yet")
        return self._sample.at(monotonic)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wall(self) -> datetime:
        """Return the same as `now`, so that timers can wait for instants in database time."""
        return self.now()

    @property
    def uncertainty_seconds(self) -> float:
        """Return how far `now` may be off either way; infinite before the first observation."""
        if self._sample is None:
            return math.inf
        return self._sample.uncertainty_at(self._clock.monotonic())

    @property
    def is_certain(self) -> bool:
        """Return whether `now` is right to a second. If not, this process may own nothing."""
        return self.uncertainty_seconds <= CERTAIN_WITHIN_SECONDS

    def statistics(self) -> ClockStatistics:
        sample = self._sample
        age = None if sample is None else self._clock.monotonic() - sample.monotonic
        return ClockStatistics(
            observations=self._observations,
            steps=self._steps,
            is_certain=self.is_certain,
            uncertainty_seconds=None if sample is None else self.uncertainty_seconds,
            sample_age_seconds=age,
        )


def _aware_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone; pass an aware datetime")
    return instant.astimezone(UTC)
