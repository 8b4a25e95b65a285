"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from runtime.instants import format_instant

if TYPE_CHECKING:
    from runtime.instants import Precision

WHOLE = datetime(2026, 5, 1, 10, 0, 0, tzinfo=UTC)
FRACTION = WHOLE + timedelta(microseconds=999_990)
BERLIN = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("instant", "precision", "text"),
    [
        (WHOLE, "auto", "2026-05-01T10:00:00Z"),
        (FRACTION, "auto", "2026-05-01T10:00:00.999990Z"),
        (WHOLE, "microseconds", "2026-05-01T10:00:00.000000Z"),
        (FRACTION, "seconds", "2026-05-01T10:00:00Z"),
        (WHOLE.astimezone(BERLIN), "auto", "2026-05-01T10:00:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "seconds", "0001-01-01T00:00:00Z"),
    ],
)
def test_an_instant_is_written_in_utc(instant: datetime, precision: Precision, text: str) -> None:
    assert format_instant(instant, precision) == text


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(TypeError, match="no time zone"):
        format_instant(datetime(2026, 5, 1))  # noqa: DTZ001 it is the point of the test
