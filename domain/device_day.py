"""A device's day as buckets of time: what happened to it, in a form that is small whatever came.

Owns the values of a day, and the gaps in it. Pure. A gap ends with the first update of a bucket and
begins with the last one of an earlier bucket, so every gap that is longer than a bucket is found,
and its ends are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from domain.model import Value


# Of each kind of edge the newest are read, and of the updates of one bucket the newest few: of
# these come the values of a signal.
MAX_EDGES: Final = 300
UPDATES_READ_PER_BUCKET: Final = 10


class HeardBucket(NamedTuple):
    """How many updates were stored in one bucket, and the first and the last of them."""

    bucket: int
    updates: int
    first_at: datetime
    last_at: datetime


class DayQuery(NamedTuple):
    """A span of time, cut into buckets of equal length from its beginning on."""

    begins_at: datetime
    ends_at: datetime
    buckets: int

    @property
    def step(self) -> timedelta:
        """The length of one bucket, rounded up to a microsecond: the last one may be shorter."""
        return -((self.begins_at - self.ends_at) // self.buckets)


class DayCycles(NamedTuple):
    """Cycles of one bucket with the same outcome and the same answer of the connection.

    `answer` is `ok`, or why the device's connection did not answer; None if it was not called.
    """

    outcome: str
    answer: str | None
    cycles: int
    first_slot_at: datetime
    last_slot_at: datetime


class DayRefusal(NamedTuple):
    """What was refused of the device in one hour, for one reason."""

    hour: datetime
    outcome: str
    reason: str | None
    signal: str | None
    occurrences: int
    first_at: datetime
    last_at: datetime
    detail: str | None


class DayEdge(NamedTuple):
    """A change of the device's or of its connection's condition."""

    at: datetime
    kind: str
    fault: str | None
    detail: str | None


class DayPoint(NamedTuple):
    """The newest value of a signal in one bucket."""

    observed_at: datetime
    value: Value


class DeviceDayRow(NamedTuple):
    """A device's day. `before_at` is its newest receipt before the span; None: there is none.

    `receipts` has the buckets in which updates were stored. Edges are oldest first; those of the
    connection begin with what held when the span began.
    """

    read_at: datetime
    provider_id: str
    before_at: datetime | None
    receipts: Sequence[HeardBucket]
    cycles: Sequence[DayCycles]
    refusals: Sequence[DayRefusal]
    connection_edges: Sequence[DayEdge]
    device_edges: Sequence[DayEdge]
    signals: Mapping[str, Sequence[DayPoint]]


class Gap(NamedTuple):
    """A time without an update. `ends_at` is None if none came until the span ended."""

    begins_at: datetime
    ends_at: datetime | None


def find_gaps(
    receipts: Iterable[HeardBucket],
    before_at: datetime | None,
    ends_at: datetime,
    at_least: timedelta,
) -> list[Gap]:
    """Return the times without an update that are longer than `at_least`, oldest first.

    `receipts` are in order. `before_at` is the newest receipt before them; None: there is none, so
    nothing is said of the time before the first one. `at_least` must not be less than a bucket.
    """
    return [
        gap
        for gap in _between(receipts, before_at)
        if (gap.ends_at or ends_at) - gap.begins_at > at_least
    ]


def _between(receipts: Iterable[HeardBucket], before_at: datetime | None) -> Iterator[Gap]:
    heard_at = before_at
    for each in receipts:
        if heard_at is not None:
            yield Gap(heard_at, each.first_at)
        heard_at = each.last_at
    if heard_at is not None:
        yield Gap(heard_at, None)
