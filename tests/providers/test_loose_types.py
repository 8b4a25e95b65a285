"""Numbers, truth values and instants are read in every form that can mean only one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.loose_types import parse_zone, read_flag, read_instant, read_number

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (61.5, 61.5),
        (0, 0),
        ("61.5", 61.5),
        (" 120 ", 120.0),
        ("-7", -7.0),
        ("+7", 7.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("61,5", 61.5),
        ("61,5000", 61.5),
    ],
)
def test_a_number_is_read_also_as_text(value: object, number: float) -> None:
    assert read_number(value) == number


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, None, [], {}, float("nan"), float("inf"), float("-inf")),
        *("", " ", "NaN", "inf", "1e400", "1e999", "-1e400", "0x1F", "1_000", "12 km", "--1"),
        *("1,000", "1.000,5", "1,000.5", "1,2,3", "\u0661", "9" * 41),
    ],
)
def test_a_doubtful_number_is_none(value: object) -> None:
    assert read_number(value) is None


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", " TRUE ", "1"])
def test_true_is_read_in_its_forms(value: object) -> None:
    assert read_flag(value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, "false", "FALSE", "0"])
def test_false_is_read_in_its_forms(value: object) -> None:
    assert read_flag(value) is False


@pytest.mark.parametrize("value", [None, "", "yes", "ja", "no", 2, -1, 0.5, [], {}, "truethy"])
def test_a_doubtful_truth_value_is_none(value: object) -> None:
    assert read_flag(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00z",
        "2026-03-01t12:00:00z",
        "2026-03-01 12:00:00Z",
        "2026-03-01 12:00:00 Z",
        "2026-03-01 12:00:00 UTC",
        "2026-03-01T12:00:00GMT",
        "2026-03-01T12:00Z",
        "2026-03-01T12:00:00.0Z",
        "2026-03-01T12:00:00,000Z",
        "2026-03-01T12:00:00.0000000Z",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T14:00:00+0200",
        "2026-03-01T14:00:00+02",
        "2026-03-01 14:00:00 +02:00",
        " 2026-03-01T12:00:00Z\n",
        "20260301T120000Z",
        "20260301T1200Z",
        1_772_366_400,
        1_772_366_400.0,
        1_772_366_400_000,
    ],
)
def test_an_instant_is_read_in_its_forms(value: object) -> None:
    assert read_instant(value) == NOON


@pytest.mark.parametrize(
    "value",
    [
        *("2026-03-01T12:00:00", "2026-03-01", "20260301", "2026-03-01T12", "yesterday", "", " "),
        *("2026-03-01T12:00:00 CET", "2026-03-01T12:00:00 am", "01/03/2026 12:00:00Z"),
        *("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+23:00", "1772366400", "2" * 61),
        *(None, True, 0, 1, -1, float("nan"), float("inf"), 10**30, 1_772_366_400_000_000, [], {}),
    ],
)
def test_a_doubtful_instant_is_none(value: object) -> None:
    assert read_instant(value) is None


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        ("2026-07-01 12:00:00.5", datetime(2026, 7, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T12:00:00Z", NOON),  # what it says comes before the setting
        ("2026-03-29T02:30:00", None),  # no such hour
        ("2026-10-25T02:30:00", None),  # this hour twice
        ("2026-03-01", None),
    ],
)
def test_a_time_without_a_zone_is_in_the_stated_one(text: str, instant: datetime | None) -> None:
    assert read_instant(text, ZoneInfo("Europe/Stockholm")) == instant


@pytest.mark.parametrize(
    ("text", "hours"), [("UTC", 0), ("z", 0), ("+02:00", 2), ("-0530", -5.5), ("Etc/GMT-1", 1)]
)
def test_a_zone_is_a_name_or_an_offset(text: str, hours: float) -> None:
    moment = datetime(2026, 1, 1, tzinfo=timezone(timedelta()))
    assert parse_zone(text).utcoffset(moment) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "CEST?", "Mars/Olympus", "+2", "../../etc/passwd", "+25:00"])
def test_a_wrong_zone_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        parse_zone(text)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary())
def test_no_value_is_an_error(value: Any) -> None:
    read_number(value)
    read_flag(value)
    read_instant(value, ZoneInfo("Europe/Stockholm"))
