"""Types with which senders are loose: a number or a time as text, a time in seconds. Pure.

Owns which of them can mean only one thing. Everything else is malformed: a guess would be stored as
a fact. Called only for values that do not have the documented type.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Final

FIRST_MS: Final = 10_000_000_000
"""Whole numbers below this may be seconds: as milliseconds, they are times before May 1970."""

_SECONDS: Final = range(1_000_000_000, 10_000_000_000)  # 2001 to 2286
_MILLISECONDS: Final = range(1_000_000_000_000, 10_000_000_000_000)  # the same years
_MAX_TEXT: Final = 40
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# A comma may be a decimal or a thousands separator, so it is not read.
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_DIGITS: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})",
    re.IGNORECASE,
)


def read_number(value: object) -> float | int | None:
    """Return a finite number that is written as text; None for anything else."""
    if type(value) is not str or len(value) > _MAX_TEXT:
        return None
    text = value.strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return int(text) if text.lstrip("+-").isdigit() else number


def read_milliseconds(time: object) -> int | None:
    """Return an instant in epoch milliseconds; None if it can mean none, or more than one.

    Read are: whole milliseconds; seconds or milliseconds of the years 2001 to 2286 as a fraction or
    as text; and ISO 8601 text with a zone.
    """
    if type(time) is int:
        return time * 1000 if time in _SECONDS else time
    if type(time) is float:
        return _scaled(time)
    if type(time) is not str or len(time) > _MAX_TEXT:
        return None
    text = time.strip()
    if _DIGITS.fullmatch(text):
        return _scaled(float(text))
    return _instant(text) if _INSTANT.fullmatch(text) else None


def _scaled(time: float) -> int | None:
    if not isfinite(time):
        return None
    if int(time) in _SECONDS:
        return round(time * 1000)
    return round(time) if int(time) in _MILLISECONDS else None


def _instant(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text.upper().replace(",", "."))
        since = at.astimezone(UTC) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
