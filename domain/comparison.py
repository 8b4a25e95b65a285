"""The comparison of one update's readings with the held values of its device.

This module owns the hot path of acceptance: which readings are dropped, which advance their signal,
and which do not. Comparing changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from domain.held import AHEAD_MICROS, EPOCH, MICROSECOND, Held, to_micros
from domain.model import Dropped, Reading, Reason
from domain.order import Order, compare
from domain.position import HALVES, LATITUDE, LONGITUDE, POSITION, wire_names
from domain.signals import CATALOGUE, PLAIN_VALUES, InvalidValue, check_value, is_plain_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.held import Document, Entry
    from domain.model import CanonicalUpdate, Value

MAX_NAME = 40
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # no telematics unit is older


class Comparison(NamedTuple):
    """The readings of one update compared with a document."""

    newer: Document
    advanced: Sequence[Reading]
    dropped: list[Dropped]
    conflicts: list[str]  # signals of readings that tie in time with another value
    older: int  # readings
    equal: int  # readings that repeat what is held
    ahead: int  # advancing readings that are ahead of their arrival
    changed: bool  # an advancing reading brings another value
    newest: datetime | None  # the earlier of time and arrival of the newest advancing reading


def compare_readings(
    update: CanonicalUpdate, document: Document, future_guard_seconds: float
) -> Comparison:
    """Compare each reading, in order, with the newest value so far. Changes no argument."""
    compared = _compare_news(update, document) or _compare(update, document, None)
    if compared is None:
        dropped: list[Dropped] = []
        compared = _compare(_clean(update, future_guard_seconds, dropped), document, dropped)
        assert compared is not None  # noqa: S101 for the type checker: it is clean
    return compared


def _compare_news(update: CanonicalUpdate, document: Document) -> Comparison | None:
    """Compare the update if it is plain news, as most are: None for any other.

    All its readings are then plain (see `_compare`) and of one time, not after their arrival; each
    is of another signal and advances it, and no vendor's reception has to be compared. Returns
    what `_compare` returns, for half its time.
    """
    readings = update.readings
    if update.arrivals is not None or update.reception_at is not None or not readings:
        return None
    observed_at = readings[0].observed_at
    if observed_at.tzinfo is not UTC or observed_at < EARLIEST:
        return None
    stated = (observed_at - EPOCH) // MICROSECOND  # as to_micros does
    delay = (update.received_at - observed_at) // MICROSECOND
    if delay < 0:
        return None
    newer: Document = {}
    changed = False
    for signal, value, at in readings:
        if at is not observed_at and (at.tzinfo is not UTC or at != observed_at):
            return None
        plain = PLAIN_VALUES.get(signal)
        if plain is not None:
            types, lowest, highest = plain
            if value.__class__ not in types or not lowest <= value <= highest:  # type: ignore[operator]
                return None
        elif signal != POSITION or not is_plain_position(value):
            return None
        held = document.get(signal)
        moved: int | None = 0
        if held is None:
            changed = True
        else:
            held_value, held_stated, held_delay, _, held_moved = held
            if held_stated >= stated or held_delay < 0:
                return None
            if value != held_value:
                changed = True
            else:
                moved = None if held_moved is None else held_stated + held_moved - stated
        newer[signal] = (value, stated, delay, None, moved)
    if len(newer) != len(readings):
        return None
    return Comparison(newer, readings, [], [], 0, 0, 0, changed, observed_at)


def _compare(
    update: CanonicalUpdate, document: Document, dropped: list[Dropped] | None
) -> Comparison | None:
    """Compare the readings of a clean update, of which these were dropped before.

    With None for `dropped`, each reading is checked first, and None is returned unless all are
    plain, which means valid as they are by a quick check. Most updates are plain. Others hold text,
    an unusual type, another time zone, a time after arrival, or a wrong value.

    A plain update costs few calls: the ingest actor spends most of its CPU time in this loop.
    """
    is_clean = dropped is not None
    newer: Document = {}
    advanced: list[Reading] = []
    conflicts: list[str] = []
    changed, newest_at, last_at, last_arrived_at = False, None, None, None
    older = equal = ahead = stated = delay = early = effective = 0
    newest, received, in_order = -1, None, True
    reception = None if update.reception_at is None else to_micros(update.reception_at)
    arrivals = iter(update.arrivals) if update.arrivals else None
    arrived_at = update.received_at
    for reading in update.readings:
        signal, value, observed_at = reading
        if arrivals is not None:
            arrived_at = next(arrivals)
        if not is_clean:
            plain = PLAIN_VALUES.get(signal)
            if plain is None:
                if signal != POSITION or not is_plain_position(value):
                    return None
            # The check of the class excludes text and pairs.
            elif value.__class__ not in plain[0] or not plain[1] <= value <= plain[2]:  # type: ignore[operator]
                return None
            if observed_at.tzinfo is not UTC:
                return None
        if observed_at != last_at or arrived_at is not last_arrived_at:
            # Most updates have one time for all their readings.
            last_at, last_arrived_at = observed_at, arrived_at
            stated = (observed_at - EPOCH) // MICROSECOND  # as to_micros does
            delay = (arrived_at - observed_at) // MICROSECOND
            if not is_clean and (delay < 0 or observed_at < EARLIEST):
                return None
            early = delay if delay < 0 else 0
            effective = stated + early
            received = None if reception is None else reception - stated
            in_order = reception is None and delay >= 0
        held = newer[signal] if signal in newer else document.get(signal)
        moved: int | None = early
        if held is None:
            changed = True
        else:
            if in_order and held[2] >= 0:
                lead = stated - held[1]
            else:
                lead = _lead(value, stated, stated + delay, reception, held)
            if lead <= 0:
                older += lead < 0
                equal += lead == 0 and value == held[0]
                if lead == 0 and value != held[0]:
                    conflicts += wire_names(signal)
                continue
            if value != held[0]:
                changed = True
            else:
                moved = None if held[4] is None else held[1] + held[4] - stated
        if effective > newest:
            newest, newest_at = effective, observed_at if delay >= 0 else arrived_at
        if delay < -AHEAD_MICROS:
            ahead += 1
        newer[signal] = (value, stated, delay, received, moved)
        advanced.append(reading)
    return Comparison(
        newer, advanced, dropped or [], conflicts, older, equal, ahead, changed, newest_at
    )


def _clean(
    update: CanonicalUpdate, future_guard_seconds: float, dropped: list[Dropped]
) -> CanonicalUpdate:
    """Return the update with those of its readings that are valid; add the others to `dropped`."""
    arrivals = update.arrivals or (update.received_at,) * len(update.readings)
    kept: list[tuple[Reading, datetime]] = []
    for reading, arrived_at in zip(update.readings, arrivals, strict=True):
        examined = _examine(reading, arrived_at, future_guard_seconds)
        if isinstance(examined, Dropped):
            dropped += [examined._replace(signal=name) for name in wire_names(examined.signal)]
        else:
            kept.append((examined, arrived_at))
    return update._replace(
        readings=tuple([reading for reading, _ in kept]),
        arrivals=tuple([arrived_at for _, arrived_at in kept]) if update.arrivals else None,
    )


def _lead(value: Value, stated: int, arrival: int, reception: int | None, entry: Entry) -> int:
    """Return 1, 0 or -1: the arriving reading is newer than the held one, equal, or older.

    Equal time and value are equal in any case.
    """
    if stated == entry[1] and value == entry[0]:
        return 0
    order = compare(Held(value, stated, arrival, reception), Held.of(entry))
    return 1 if order is Order.NEWER else -1 if order is Order.OLDER else 0


def _examine(
    reading: Reading, arrived_at: datetime, future_guard_seconds: float
) -> Reading | Dropped:
    """Check one reading, and return it cleaned or dropped.

    The guard counts from the arrival, so the verdict is the same however long an update waited.
    """
    signal, value, observed_at = reading
    checked = _check(signal, value)
    if isinstance(checked, Dropped):
        return checked
    value = checked
    if observed_at.tzinfo is not UTC:
        if observed_at.utcoffset() is None:
            return Dropped(signal, Reason.INVALID, "observed_at has no time zone")
        try:
            observed_at = observed_at.astimezone(UTC)
        except OverflowError:
            return Dropped(signal, Reason.INVALID, "observed_at is outside the calendar")
    if observed_at < EARLIEST:  # a clock that was never set: 0001-01-01, 1970 or 1980
        return Dropped(signal, Reason.INVALID, "observed before 2000")
    if observed_at - arrived_at > timedelta(seconds=future_guard_seconds):
        return Dropped(signal, Reason.FUTURE_TIMESTAMP, "observed in the future")
    if value is reading.value and observed_at is reading.observed_at:
        return reading
    return Reading(signal, value, observed_at)


def _check(signal: str, value: Value) -> Value | Dropped:
    if signal not in CATALOGUE and signal != POSITION:
        # The name comes from outside: `ascii` keeps NUL and lone surrogates out of stored text.
        signal = ascii(signal)[1:-1][:MAX_NAME]
    checked = check_value(signal, value)
    if isinstance(checked, InvalidValue):
        return Dropped(signal, checked.reason, checked.why)
    if signal in HALVES:
        other = LONGITUDE if signal == LATITUDE else LATITUDE
        return Dropped(signal, Reason.INVALID, f"half a position: no {other} of the same time")
    return checked
