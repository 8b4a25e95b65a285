"""Explicit start offsets: which of them would synchronise starts, and are refused (FR-002).

This module owns the limit, the count of starts in a second and the search for a free offset. It
must never name a workspace: a caller may not know the others.

An explicit offset is a whole number of seconds, and jitter is below one second. So a workspace
starts within the seconds of the clock that are epoch multiples of its interval plus its offset.
Two workspaces have such a second in common if their offsets agree modulo the greatest common
divisor of their intervals. Several have one in common if every two of them have (the Chinese
remainder theorem).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.thresholds import ThresholdFault

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_IN_A_SECOND: Final = 2
ONE_IN: Final = 100  # active workspaces may start in one second
# Starts are counted second by second over at most this time. It holds all intervals that divide an
# hour, and bounds the work to some ten milliseconds.
MAX_PERIOD_SECONDS: Final = 7200


class ExplicitPlace(NamedTuple):
    """The interval and the explicit offset of a workspace, in seconds."""

    interval: int
    offset: int


class OtherStarts(NamedTuple):
    """The other active workspaces: how many there are, and how many have each explicit place."""

    active: int
    explicit: Mapping[ExplicitPlace, int]


class Synchronized(NamedTuple):
    """The refusal of an offset at which too many workspaces would start in one second.

    `starting` is how many others start in the fullest of those seconds, `most` how many may start
    in one. `nearest_free` is the offset nearest to the one asked for that would be accepted, None
    if there is none. `field` names the field at fault.
    """

    place: ExplicitPlace
    starting: int
    most: int
    nearest_free: int | None
    field: str


def check_offset(offset: int | None, interval: int) -> list[ThresholdFault]:
    """Return what is wrong with an explicit offset of this interval."""
    if offset is None or 0 <= offset < interval:
        return []
    detail = (
        f"must be 0 or more and less than poll_interval_seconds, which is {interval}. "
        "Choose another offset or interval, or null for none."
    )
    return [ThresholdFault("start_offset_seconds", detail)]


def most_in_a_second(active: int) -> int:
    """Return how many workspaces may start in one second by explicit offsets: 1%, or 2."""
    return max(LEAST_IN_A_SECOND, active // ONE_IN)


def refuse_synchronized(
    place: ExplicitPlace, others: OtherStarts, *, field: str
) -> Synchronized | None:
    """Return the refusal of an active workspace at this place, or None if it is accepted."""
    most = most_in_a_second(others.active + 1)
    starting = count_starts(place.interval, others.explicit)
    if starting[place.offset] < most:
        return None
    free = (offset for offset, others_there in enumerate(starting) if others_there < most)
    # Of two that are equally near, the later one.
    nearest = min(free, key=lambda one: (abs(one - place.offset), -one), default=None)
    return Synchronized(place, starting[place.offset], most, nearest, field)


def count_starts(interval: int, others: Mapping[ExplicitPlace, int]) -> list[int]:
    """Return, for each offset of the interval, how many others may start in a second with it.

    It is the fullest of the seconds at which a workspace with that offset starts, over the period
    after which all starts repeat. If the period is too long, intervals are left out of it, and the
    workspaces that have them count as if they started more often. So the number is never too low.
    """
    period = _find_period(interval, {place.interval for place in others})
    in_second = [0] * period
    for (step, offset), workspaces in _join_alike(period, others).items():
        for second in range(offset, period, step):
            in_second[second] += workspaces
    return [max(in_second[offset::interval]) for offset in range(interval)]


def _find_period(interval: int, others: set[int]) -> int:
    """Return the time after which the starts of the interval and of the others repeat.

    Of the others, shortest first, those are left out that would make it too long.
    """
    period = interval
    for other in sorted(others):
        joined = math.lcm(period, other)
        period = joined if joined <= MAX_PERIOD_SECONDS else period
    return period


def _join_alike(period: int, others: Mapping[ExplicitPlace, int]) -> Counter[tuple[int, int]]:
    """Return how many workspaces start in each (step, first second) of the period.

    A step that does not divide the period becomes the greatest divisor that they share: over many
    periods the workspace starts in each of these seconds.
    """
    alike: Counter[tuple[int, int]] = Counter()
    for place, workspaces in others.items():
        step = math.gcd(period, place.interval)
        alike[step, place.offset % step] += workspaces
    return alike
