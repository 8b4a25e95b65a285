"""Instants as text: RFC 3339 in UTC with `Z`, the one form that the service writes.

Logs, answers of the API, heartbeats and requests to providers use it. Owns no parsing: each input
has rules of its own.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

Precision = Literal["auto", "seconds", "microseconds"]


def format_instant(instant: datetime, precision: Precision = "auto") -> str:
    """Return the instant as RFC 3339, such as `2026-05-01T10:00:00.250000Z`.

    `auto` writes six digits of a second, or none for a whole second. What is finer than the
    precision is cut off, so the text is never later than the instant. Raises TypeError for a
    datetime without a time zone: that is a bug.
    """
    if instant.tzinfo is None:
        raise TypeError(f"{instant!r} has no time zone; every instant is aware and in UTC")
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return f"{utc.isoformat('T', precision)[:-6]}Z"  # without the "+00:00"
