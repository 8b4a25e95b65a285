"""Numbers, truth values and instants are read in every form that can mean only one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import Reading
from providers.loose_types import parse_zone, read_flag, read_instant, read_number
from providers.viriciti.wire import interpret
from tests.providers.rfms_shapes import read_statuses, status_of
from tests.providers.viriciti_shapes import frame

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


NUMBERS: list[tuple[object, float]] = [
    (61.5, 61.5),
    (0, 0),
    ("61.5", 61.5),
    (" 120 ", 120.0),
    ("-7", -7.0),
    ("+7", 7.0),
    ("1e3", 1000.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("1.234", 1.234),
    ("61,5", 61.5),
    ("-61,25", -61.25),
    ("61,5000", 61.5),
]
NO_NUMBERS: list[object] = [
    *(True, False, [], {}, "", " ", "NaN", "inf", "1e400", "1e999", "-1e400", "0x1F"),
    *("1_000", "12 km", "--1", "true", "1,234", "1,000", "1.000,5", "1,000.5", "1,2,3", "5,"),
    *("\u0661", "9" * 41),
]
INSTANTS: list[object] = [
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
    "2026-W09-7T12:00Z",
    1_772_366_400,
    1_772_366_400.0,
    1_772_366_400_000,
    1_772_366_400_000.0,
    "1772366400",
    "1772366400.000",
    "1772366400000",
]
NO_INSTANTS: list[object] = [
    *("2026-03-01T12:00:00", "2026-03-01", "20260301", "2026-03-01T12", "yesterday", "", " "),
    *("2026-03-01T12:00:00 CET", "2026-03-01T12:00:00 am", "01/03/2026 12:00:00Z"),
    *("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+23:00", "2" * 61),
    *(
        "2026-03-01x12:00:00Z",
        "2026-03-01912:00:00Z",
        "1_772_366_400",
        "-1772366400",
        "202603011200",
    ),
    *(True, 1.5, -1.5, [], {}),
]


@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_a_number_is_read_also_as_text(value: object, number: float) -> None:
    assert read_number(value) == number


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, None, float("nan"), float("inf"), float("-inf"), 2**63]
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


@pytest.mark.parametrize("value", INSTANTS)
def test_an_instant_is_read_in_its_forms(value: object) -> None:
    assert read_instant(value) == NOON


@pytest.mark.parametrize(
    "value",
    [*NO_INSTANTS, None, 0, 1, float("nan"), float("inf"), 10**30, 1_772_366_400_000_000],
)
def test_a_doubtful_instant_is_none(value: object) -> None:
    assert read_instant(value) is None


@given(st.integers(946_684_800_000, 4_102_444_799_999))
def test_milliseconds_are_exact_in_every_form(ms: int) -> None:
    exact = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    forms = [ms, float(ms), str(ms), f"{ms // 1000}.{ms % 1000:03}", exact.isoformat()]
    assert {read_instant(form) for form in forms} == {exact}


def by_rfms(value: object = 50, time: object = "2026-03-01T12:00:00Z") -> list[Reading]:
    snapshot = {"hybridBatteryPackRemainingCharge": value}
    page = read_statuses(status_of(createdDateTime=time, snapshotData=snapshot))
    assert page.malformed_count == (not page.samples)
    return [reading for sample in page.samples for reading in sample.readings]


def by_viriciti(value: object = 50, time: object = 1_772_366_400_000) -> list[Reading]:
    verdict = interpret(frame(value=value, time=time))
    assert (verdict.malformed is None) == bool(verdict.readings)
    return list(verdict.readings)


@pytest.mark.parametrize("read", [by_rfms, by_viriciti])
def test_every_vendor_is_read_by_the_same_table(read: Callable[..., list[Reading]]) -> None:
    for value, number in NUMBERS:
        assert read(value=value) == [Reading("soc_percent", number, NOON)], value
    for time in INSTANTS:
        assert read(time=time) == [Reading("soc_percent", 50, NOON)], time
    doubtful = [read(value=value) for value in NO_NUMBERS] + [read(time=t) for t in NO_INSTANTS]
    assert not any(doubtful)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        ("2026-07-01 12:00:00.5", datetime(2026, 7, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T12:00:00Z", NOON),  # what it says comes before the setting
        ("2026-03-29T02:30:00", None),  # no such hour
        ("2026-10-25T02:30:00", None),  # this hour twice
        ("2026-03-01", None),
        ("1712010112000", datetime(2024, 4, 1, 22, 21, 52, tzinfo=UTC)),  # no time of 1712
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
