"""Held values: the newest value of each signal of a device, with its times.

An entry is the form in which a held value is compared and stored: the value, its stated time, and
the other times relative to that. It is a plain tuple, or a list when it was read from storage:
tens of thousands are compared a second, and each update reads and writes only the entries of its
own signals. `Held` gives the times of one entry names, for all other code.

Instants are whole microseconds since 1970. They are exact: a stated time must equal itself after it
was stored and read again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from domain.order import AHEAD_TOLERANCE
from domain.position import HALVES, POSITION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.model import Value

    # (value, stated, arrival - stated, reception - stated or None, changed - stated or None)
    Entry = Sequence[Any]
    Document = dict[str, Entry]  # by signal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
AHEAD_MICROS = AHEAD_TOLERANCE // MICROSECOND


class Held(NamedTuple):
    """The newest value of one signal. Instants are microseconds since 1970.

    `changed` is when a reading last brought another value, as observed; None if that was before it
    was kept.
    """

    value: Value
    stated: int
    arrival: int
    reception: int | None = None
    changed: int | None = None

    @staticmethod
    def of(entry: Entry) -> Held:
        """Return the held value of an entry."""
        value, stated, arrival, reception, changed = entry
        return Held(
            value,
            stated,
            stated + arrival,
            None if reception is None else stated + reception,
            None if changed is None else stated + changed,
        )

    @property
    def entry(self) -> Entry:
        """Return the held value as an entry."""
        stated, reception, changed = self.stated, self.reception, self.changed
        return (
            self.value,
            stated,
            self.arrival - stated,
            None if reception is None else reception - stated,
            None if changed is None else changed - stated,
        )

    @property
    def is_ahead(self) -> bool:
        """Return whether the stated time is more than the tolerance after the arrival."""
        return self.stated - self.arrival > AHEAD_MICROS

    @property
    def observed_at(self) -> datetime:
        """Return the stated time as a datetime in UTC."""
        return to_instant(self.stated)

    @property
    def observed(self) -> int:
        """Return the earlier of stated time and arrival: ages count from it."""
        return self.stated if self.stated < self.arrival else self.arrival


def to_micros(instant: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, exactly."""
    return (instant - EPOCH) // MICROSECOND


def to_instant(micros: int) -> datetime:
    """Return microseconds since 1970 as a datetime in UTC."""
    return EPOCH + timedelta(0, 0, micros)


def name_values(document: Mapping[str, Entry]) -> dict[str, Held]:
    """Return the held values by the names on the wire: a position becomes its two halves."""
    # As Held.of, without its calls: a page has hundreds of values.
    values = {
        signal: Held(
            value,
            stated,
            stated + arrival,
            None if reception is None else stated + reception,
            None if changed is None else stated + changed,
        )
        for signal, (value, stated, arrival, reception, changed) in document.items()
    }
    position = values.pop(POSITION, None)
    if position is not None:
        pair = cast("tuple[float, float]", position.value)
        for name, half in zip(HALVES, pair, strict=True):
            values[name] = Held(half, *position[1:])
    return values
