"""Values that vendors write in several forms: numbers, truth values, instants and names. Pure.

Owns what counts as unambiguous. Each function returns None for a value that can be read in no way,
or in two ways. The caller counts that as malformed: it is never taken as absent.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
# A comma before exactly three digits may separate thousands, so it is not read.
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]{1,15},(?:[0-9]{1,2}|[0-9]{4,15})")
_MAX_NUMBER_LENGTH: Final = 40
_TWO_TO_63: Final = 2**63  # what an integer of the wire may be
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_DIGITS: Final = re.compile(r"[0-9]{9,13}(?:\.[0-9]*)?")
# Python takes any character between date and time, also another digit.
_DATE_AND_TIME: Final = re.compile(r"[0-9W-]{7,10}[Tt ][0-9]")
_SHORTEST_INSTANT: Final = len("20260301T1200Z")
_MAX_INSTANT_LENGTH: Final = 60
_ZONE_WORD: Final = re.compile(r"[ ]*(?:z|utc|gmt)", re.IGNORECASE)
_SPACE_BEFORE_OFFSET: Final = re.compile(r"(?<=[0-9])[ ]+(?=[+-][0-9:]+$)")
_TRAILING_WORD: Final = re.compile(r"[ ]*[a-z]+$", re.IGNORECASE)
_OFFSET: Final = re.compile(r"([+-])([01][0-9]):?([0-5][0-9])")
# Blanks, and marks that nobody sees. Fields of a fixed length are filled up with NUL.
_EDGES: Final = " \t\r\n\v\f\0\u00a0\u200b\u2060\ufeff"
# Seconds and milliseconds since the epoch cannot be mistaken for each other between these.
EPOCH_2000: Final = 946_684_800
EPOCH_2100: Final = 4_102_444_800


def read_number(value: object) -> float | None:
    """Return the number: a JSON number, or text that is one. None for anything else.

    A truth value is not a number. A decimal comma is read, unless three digits follow it.
    """
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int:
        return value if -_TWO_TO_63 <= value < _TWO_TO_63 else None
    if not isinstance(value, str) or len(value) > _MAX_NUMBER_LENGTH:
        return None
    text = value.strip()
    if "," in text and _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def read_flag(value: object) -> bool | None:
    """Return the truth value: true, false, 1 or 0, also as text. None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return None if value not in (0, 1) else value == 1
    return _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None


def read_name(value: object, max_length: int) -> str | None:
    """Return the name: text without blanks at its ends, or a whole number as text.

    None for anything else, and for a name with a character that cannot be shown.
    """
    if type(value) is int:
        return str(value) if 0 <= value < _TWO_TO_63 else None
    name = value.strip(_EDGES) if isinstance(value, str) else ""
    return name if 0 < len(name) <= max_length and name.isprintable() else None


def read_instant(value: object, zone: tzinfo | None = None) -> datetime | None:
    """Return an instant in UTC. None for anything that does not say one.

    Text is ISO 8601 in any of its forms, also with a space in place of the T, a small z, or "UTC".
    Text without a zone is in `zone`; without one it says no instant, and neither does an hour that
    the zone has twice or not at all. A number, also as text, is seconds or milliseconds since the
    epoch, in the years 2000 to 2099.
    """
    try:
        if isinstance(value, str):
            return _instant_of_text(value, zone)
        if type(value) is int or type(value) is float:
            return _instant_of_number(value)
    except (ValueError, OverflowError):
        pass
    return None


def parse_zone(text: str) -> tzinfo:
    """Return the zone: UTC, an offset such as +02:00, or a name such as Europe/Stockholm.

    Raises ValueError if this system does not know it.
    """
    offset = _OFFSET.fullmatch(text)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    if text.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(text)
    except (OSError, LookupError, ValueError) as error:
        message = f"{text!r} is no time zone: use UTC, an offset (+02:00) or a name (Europe/Paris)"
        raise ValueError(message) from error


def _instant_of_text(value: str, zone: tzinfo | None) -> datetime | None:
    if len(value) > _MAX_INSTANT_LENGTH:
        return None
    text = value.strip()
    if _DIGITS.fullmatch(text):
        return _instant_of_number(float(text))
    if not _DATE_AND_TIME.match(text):
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.fromisoformat(_in_standard_form(text))
    if len(text) < _SHORTEST_INSTANT and instant.tzinfo is None:
        return None  # a date without a time
    if instant.tzinfo is not None:
        return instant.astimezone(UTC)
    return None if zone is None else _localised(instant, zone)


def _in_standard_form(text: str) -> str:
    word = _TRAILING_WORD.search(text)
    if word is not None and _ZONE_WORD.fullmatch(word[0]):
        return text[: word.start()] + "Z"
    return _SPACE_BEFORE_OFFSET.sub("", text)


def _localised(instant: datetime, zone: tzinfo) -> datetime | None:
    first, second = (instant.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    return first.astimezone(UTC) if first.utcoffset() == second.utcoffset() else None


def _instant_of_number(value: float) -> datetime | None:
    for unit in (1, 1000):
        if EPOCH_2000 <= value / unit < EPOCH_2100:
            return datetime.fromtimestamp(value / unit, UTC)
    return None
