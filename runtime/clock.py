"""Clocks: the only module that reads the wall clock.

Owns the `Clock` protocol, its real and virtual forms, and `SharedClock`, which maps this process's monotonic
readings to the time of the database, the one clock that all shards share. Nothing here sleeps; waiting for an
instant is in `runtime/timers.py`. No other module may call `datetime.now`, `time.time` or their kin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import trio

from runtime.faults import EnvironmentFault

CERTAIN_WITHIN_SECONDS = 1.0
DRIFT_PER_SECOND = 100e-6  # quartz is good to about 50 ppm on either side; twice that covers both ends


class Clock(Protocol):
    """Two readings: one for durations, one for instants that others will see."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never steps back. May stand still while the machine is suspended."""
        ...

    def wall(self) -> datetime:
        """The instant now, aware, in UTC. May step in either direction."""
        ...


class SystemClock:
    """The machine's clocks.

    `monotonic` is `trio.current_time()`, so that deadlines and readings are the same scale; it therefore needs a
    running trio loop (RuntimeError outside). `wall` works anywhere, in any thread.
    """

    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """A wall clock that follows trio's clock, for tests and simulation under `MockClock`.

    `start` is the instant at which trio's clock reads `origin`; every `MockClock` begins at 0.0, so the default
    makes `wall()` equal `start` plus the virtual time elapsed, whenever the object was made. Needs a running trio loop.
    """

    def __init__(self, start: datetime, *, origin: float = 0.0) -> None:
        self._start = _aware_utc(start)
        self._origin = origin

    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> datetime:
        return self._start + timedelta(seconds=trio.current_time() - self._origin)

    def step(self, seconds: float) -> None:
        """Move the wall clock, and only it, as an operator or a time daemon would."""
        self._start += timedelta(seconds=seconds)


class ClockUnknown(EnvironmentFault):
    """The shared clock was asked for a time before its first observation."""


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
        """True when no single offset can lie within the error bounds of both samples at this one's midpoint."""
        apart = abs((self.server_time - other.at(self.monotonic)).total_seconds())
        return apart > self.half_round_trip + other.uncertainty_at(self.monotonic)


class SharedClock:
    """Database time, read through this process's monotonic clock; itself a `Clock` whose wall is the database's.

    Each observation is one round trip: sent and received (monotonic seconds) and what the server's clock said between.
    The server may have read its clock at any moment of the trip, so its midpoint is right to half the trip, and grows
    more uncertain by 100 ppm with age. The tightest sample is kept until a newer one is tighter than it has become; a
    newer sample that contradicts it wins at once, because then one of the two clocks stepped (failover, suspend).

    Readings are not monotonic: a better sample may move them back by at most the former uncertainty.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sample: _Sample | None = None
        self._observations = 0
        self._steps = 0

    def observe(self, sent_at: float, received_at: float, server_time: datetime) -> None:
        """Take in one round trip. Raises ValueError for a naive time or a trip that ends before it began."""
        if received_at < sent_at:
            raise ValueError(f"a round trip cannot end ({received_at}) before it began ({sent_at})")
        half_round_trip = (received_at - sent_at) / 2
        sample = _Sample(sent_at + half_round_trip, _aware_utc(server_time), half_round_trip)
        self._observations += 1
        held = self._sample
        if held is None:
            self._sample = sample
        elif sample.contradicts(held):
            self._steps += 1
            self._sample = sample
        elif sample.half_round_trip <= held.uncertainty_at(sample.monotonic):
            self._sample = sample

    def now(self) -> datetime:
        """Database time now. Raises ClockUnknown before the first observation."""
        return self.at(self._clock.monotonic())

    def at(self, monotonic: float) -> datetime:
        """Database time of one of this process's monotonic readings. Raises ClockUnknown like `now`."""
        if self._sample is None:
            raise ClockUnknown("the database's clock has not been observed yet")
        return self._sample.at(monotonic)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wall(self) -> datetime:
        """The same as `now`: lets timers wait for instants in database time."""
        return self.now()

    @property
    def uncertainty_seconds(self) -> float:
        """How far `now` may be off either way; infinite before the first observation."""
        if self._sample is None:
            return math.inf
        return self._sample.uncertainty_at(self._clock.monotonic())

    @property
    def is_certain(self) -> bool:
        """True when `now` is right to a second. A process for which this is False may own nothing."""
        return self.uncertainty_seconds <= CERTAIN_WITHIN_SECONDS

    def statistics(self) -> dict[str, Any]:
        sample = self._sample
        return {
            "observations": self._observations,
            "steps": self._steps,
            "is_certain": self.is_certain,
            "uncertainty_seconds": None if sample is None else self.uncertainty_seconds,
            "sample_age_seconds": None if sample is None else self._clock.monotonic() - sample.monotonic,
        }


def _aware_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone; instants here are aware")
    return instant.astimezone(UTC)
