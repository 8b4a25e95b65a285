"""The quirks of single vehicles: each is one way in which real units and vendors go wrong.

Owns their names, what they do to the times of a record, and whose side each is on. It knows neither
the wire (distortions.py) nor which vehicle has which quirk (manners.py). Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Quirk(StrEnum):
    """One lasting misbehaviour of one vehicle. Each is also the name of a fault flag."""

    MALFORMED_RECORDS = "malformed_records"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_FAST = "clock_fast"
    CLOCK_BEHIND = "clock_behind"
    CLOCK_SET_BACK = "clock_set_back"
    REPEATS = "repeats"
    LEFT_OUT = "left_out"
    VEHICLE_ERRORS = "vehicle_errors"
    LOOSE_TYPES = "loose_types"
    POSITION_WITHOUT_TIME = "position_without_time"
    REFUSED_SIGNAL = "refused_signal"
    BAD_BYTES = "bad_bytes"
    HALF_POSITION = "half_position"
    FILL_VALUES = "fill_values"
    SAME_SECOND = "same_second"
    FIRST_RECORD_OLD = "first_record_old"
    OTHER_CASE = "other_case"
    EMPTIES_BUFFER = "empties_buffer"


# The side that is at fault for a quirk. For one that is not in this table it is the provider: its
# records are in a form that is no good, or that few readers know.
PARTIES: Final[dict[Quirk, str]] = {
    Quirk.CLOCK_AHEAD: "device",
    Quirk.CLOCK_SET_BACK: "device",
    Quirk.REPEATS: "device",
    Quirk.LEFT_OUT: "customer",
    Quirk.FIRST_RECORD_OLD: "device",
    Quirk.OTHER_CASE: "customer",
    Quirk.EMPTIES_BUFFER: "customer",
}
PROVIDER: Final = "provider"

# These begin at `quirks_after`; until then the vehicle reports well. The others begin at once.
BEGIN_LATER: Final = frozenset(
    {Quirk.CLOCK_SET_BACK, Quirk.REPEATS, Quirk.LEFT_OUT, Quirk.VEHICLE_ERRORS}
)
# Nothing usable comes of a vehicle with one of these. The others go on reporting.
STOP_DATA: Final = frozenset(
    {
        Quirk.MALFORMED_RECORDS,
        Quirk.CLOCK_AHEAD,
        Quirk.CLOCK_SET_BACK,
        Quirk.REPEATS,
        Quirk.LEFT_OUT,
        Quirk.VEHICLE_ERRORS,
        Quirk.BAD_BYTES,
        Quirk.FIRST_RECORD_OLD,
    }
)
# While these last, the vehicle itself sends nothing.
SENDS_NOTHING: Final = frozenset({Quirk.LEFT_OUT, Quirk.VEHICLE_ERRORS})

BUFFERED_RECORDS: Final = 5  # that a unit with EMPTIES_BUFFER sends before its first new one


def party_of(quirk: Quirk) -> str:
    """Return the side that is at fault for this quirk."""
    return PARTIES.get(quirk, PROVIDER)


def stated_instant(quirk: Quirk, instant: float, since_begin: float, by: float) -> float:
    """Return the time that the vehicle states for a report at `instant`, repetitions apart.

    `since_begin` are the seconds since the quirk began (negative before that), `by` is its own
    number of seconds.
    """
    if quirk in BEGIN_LATER and since_begin < 0:
        return instant
    match quirk:
        case Quirk.CLOCK_AHEAD | Quirk.CLOCK_FAST:
            return instant + by
        case Quirk.CLOCK_BEHIND | Quirk.CLOCK_SET_BACK | Quirk.FIRST_RECORD_OLD:
            return instant - by
        case _:
            return instant
