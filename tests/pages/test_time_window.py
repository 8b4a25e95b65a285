"""The span of time of a picture: its address, its neighbours, its axis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from api.pages.time_window import DAY, TimeSpan, find_neighbours, find_ticks, read_window

NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


def test_without_an_address_it_is_the_last_day() -> None:
    assert read_window(None, None, NOW) == TimeSpan(NOW - DAY, NOW)


def test_an_address_may_name_one_end() -> None:
    begins = NOW - 2 * HOUR
    assert read_window(begins.isoformat(), None, NOW) == TimeSpan(begins, NOW, is_given=True)
    assert read_window(None, begins.isoformat(), NOW) == TimeSpan(
        begins - DAY, begins, is_given=True
    )


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("x", None),
        ("2026-03-02T12:00:00Z", None),
        ("2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z"),
        ("0001-01-01T00:00:00+23:59", None),
        (None, "0001-01-01T00:00:00Z"),
    ],
)
def test_an_address_of_no_possible_span_is_none(begins: str | None, ends: str | None) -> None:
    assert read_window(begins, ends, NOW) is None


def test_the_last_day_cannot_go_later_or_wider() -> None:
    found = find_neighbours(TimeSpan(NOW - DAY, NOW), NOW)
    assert [name for name, query in found.items() if query is None] == ["out", "later", "all"]
    assert found["in"] == "from=2026-03-02T00:00:00Z&to=2026-03-02T12:00:00Z"


def test_closer_is_around_the_middle() -> None:
    window = TimeSpan(NOW - 5 * HOUR, NOW - 2 * HOUR, is_given=True)
    assert find_neighbours(window, NOW)["in"] == "from=2026-03-02T08:00:00Z&to=2026-03-02T09:00:00Z"


def test_later_ends_with_now() -> None:
    window = TimeSpan(NOW - 4 * HOUR, NOW - HOUR, is_given=True)
    assert (
        find_neighbours(window, NOW)["later"] == "from=2026-03-02T09:00:00Z&to=2026-03-02T12:00:00Z"
    )


def test_the_axis_has_round_times_of_the_zone() -> None:
    ticks = find_ticks(TimeSpan(NOW - DAY, NOW), "Asia/Kolkata")
    assert [tick.label for tick in ticks] == ["20:00", "00:00", "04:00", "08:00", "12:00", ""]
    assert ticks[0].left == "10.417%"


def test_the_axis_of_minutes_has_seconds() -> None:
    ticks = find_ticks(TimeSpan(NOW - timedelta(minutes=2), NOW), "UTC")
    assert [tick.label for tick in ticks] == ["11:58:00", "11:58:30", "11:59:00", "11:59:30"]
