"""The forms in which legacy systems write instants. Pure.

Owns reading one value as an instant in the configured form, and the check of that form. A value in
another form says no instant: guessing would show a time that is an hour or a century wrong.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import tzinfo

MAX_PATTERN_LENGTH: Final = 60
MAX_TEXT_LENGTH: Final = 64
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_YEARS: Final = range(2000, 2100)
# Every part of it shows whether a pattern reads it: no two of its numbers are equal.
_TRIAL: Final = datetime(2021, 12, 30, 17, 45, 50, tzinfo=UTC)


class TimeFormat(Protocol):
    """Reads one value as an instant in UTC; None if it says none in this form."""

    def __call__(self, value: Any) -> datetime | None: ...


def read_rfc3339(value: Any) -> datetime | None:
    """Read RFC 3339 text with its offset. Digits after the sixth of a second are cut off."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return None
    try:
        return _in_years(datetime.fromisoformat(value.upper()).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def read_epoch_seconds(value: Any) -> datetime | None:
    """Read the seconds since 1970, with a fraction or without."""
    return _of_epoch(value, 1)


def read_epoch_milliseconds(value: Any) -> datetime | None:
    """Read the milliseconds since 1970."""
    return _of_epoch(value, 1000)


NAMED_FORMATS: Final[dict[str, TimeFormat]] = {
    "rfc3339": read_rfc3339,
    "epoch_seconds": read_epoch_seconds,
    "epoch_milliseconds": read_epoch_milliseconds,
}


class PatternFormat:
    """Reads text by a pattern of strptime, in a time zone unless the text has an offset (%z)."""

    def __init__(self, pattern: str, zone_name: str | None) -> None:
        """Check the pattern. Raises ValueError with what is wrong with it."""
        if len(pattern) > MAX_PATTERN_LENGTH:
            raise ValueError(f"the pattern has more than {MAX_PATTERN_LENGTH} characters")
        self._pattern = pattern
        self._zone = None if zone_name is None else _zone(zone_name)
        has_offset = "%z" in pattern.replace("%%", "")
        if has_offset == (self._zone is not None):
            raise ValueError(
                "the pattern reads an offset (%z), so leave out time_zone"
                if has_offset
                else "the pattern reads no offset (%z), so name the time_zone, as in Europe/Paris"
            )
        self._check()

    def __call__(self, value: Any) -> datetime | None:
        if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH:
            return None
        try:
            read = datetime.strptime(value, self._pattern)  # noqa: DTZ007 - the zone follows
            return _in_years(_localised(read, self._zone))
        except (ValueError, OverflowError):
            return None

    def _check(self) -> None:
        """Write an instant with the pattern, and read it back."""
        written = format(_TRIAL.astimezone(self._zone or UTC), self._pattern)
        try:
            read = datetime.strptime(written, self._pattern)  # noqa: DTZ007 - only a trial
            same = _localised(read, self._zone)
        except (ValueError, re.error) as error:
            raise ValueError(f"the pattern {self._pattern!r} cannot be read: {error}") from None
        if same is None or same.replace(second=0) != _TRIAL.replace(second=0):
            raise ValueError(
                f"the pattern {self._pattern!r} does not read a whole date, hour and minute"
            )


def _of_epoch(value: Any, per_second: int) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return _in_years(datetime.fromtimestamp(value / per_second, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def _in_years(instant: datetime | None) -> datetime | None:
    """Return the instant if it is in the years of this service; milliseconds as seconds are not."""
    return instant if instant is not None and instant.year in _YEARS else None


def _localised(read: datetime, zone: tzinfo | None) -> datetime | None:
    """Return the instant in UTC; None for an hour that the zone has twice or not at all."""
    if read.tzinfo is not None or zone is None:
        return None if read.tzinfo is None else read.astimezone(UTC)
    first, second = (read.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    return first.astimezone(UTC) if first.utcoffset() == second.utcoffset() else None


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (OSError, LookupError, ValueError):
        raise ValueError(
            f"{name!r} is no time zone: write UTC, or a name as Europe/Paris"
        ) from None
