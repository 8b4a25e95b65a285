"""The order of two readings of one signal, when their stated times are equal or slightly wrong.

This module owns the rule of the specification (Health rule, "Order of readings"). Acceptance and
coalescing both use it. It stores nothing and reads no clock.

Each reading has up to three times: the *stated* time of observation, the *arrival* (when its bytes
came to us), and the vendor's own *reception*, where the vendor says it. Without a reception, a
clock that is minutes fast must not block the present. With one, no replay changes anything.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple, Protocol, TypeVar

AHEAD_TOLERANCE: Final = timedelta(seconds=10)

# datetimes, or whole microseconds since 1970 where many are compared
_Instant = TypeVar("_Instant", datetime, int)
_Instant_co = TypeVar("_Instant_co", datetime, int, covariant=True)


class Timed(Protocol[_Instant_co]):
    """A reading with its times, all in one unit. `reception` is None if the vendor says none."""

    @property
    def stated(self) -> _Instant_co: ...
    @property
    def arrival(self) -> _Instant_co: ...
    @property
    def reception(self) -> _Instant_co | None: ...
    @property
    def is_ahead(self) -> bool: ...


class Times(NamedTuple):
    """The times of one reading, as datetimes."""

    stated: datetime
    arrival: datetime
    reception: datetime | None = None

    @property
    def is_ahead(self) -> bool:
        """Return whether the stated time is more than the tolerance after the arrival."""
        return self.stated - self.arrival > AHEAD_TOLERANCE

    @property
    def observed(self) -> datetime:
        """Return the earlier of stated time and arrival: ages count from it."""
        return min(self.stated, self.arrival)


class Order(Enum):
    """The place of an arriving reading relative to the one that is held."""

    NEWER = "newer"
    OLDER = "older"
    EQUAL = "equal"


def compare(arriving: Timed[_Instant], held: Timed[_Instant]) -> Order:
    """Return the order of the arriving reading against the held one.

    If both have the vendor's reception, the order is by the earlier of stated time and reception,
    then by stated time. Otherwise two readings that are ahead of their arrival, or two that are
    not, are ordered by stated time. One that is not ahead is newer than a held one that is, if it
    is stated later than the held one was received. One that is ahead is compared with a held one
    that is not by stated time.

    Equal stated times are EQUAL, except where a reading that is not ahead meets one that is. So the
    caller checks first whether both time and value are equal: that is a duplicate in any case.
    """
    if arriving.reception is not None and held.reception is not None:
        first = min(arriving.stated, arriving.reception)
        second = min(held.stated, held.reception)
        if first != second:
            return Order.NEWER if first > second else Order.OLDER
    elif held.is_ahead and not arriving.is_ahead:
        return Order.NEWER if arriving.stated > held.arrival else Order.OLDER
    if arriving.stated == held.stated:
        return Order.EQUAL
    return Order.NEWER if arriving.stated > held.stated else Order.OLDER
