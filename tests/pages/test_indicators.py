"""The indicators of a workspace: its period, its pictures, its numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.pages import indicator_pictures as pictures
from api.pages.indicators import read_period
from api.pages.time_window import TimeSpan
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

PAGE: Final = "/workspaces/north/indicators"
NOON: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
WINDOW: Final = TimeSpan(NOON, NOON + timedelta(hours=10))


def hour(begins: int, share: float | None, member: str = "fresh_share") -> dict[str, Any]:
    begins_at = NOON + timedelta(hours=begins)
    ends_at = begins_at + timedelta(hours=1)
    return {"begins_at": begins_at.isoformat(), "ends_at": ends_at.isoformat(), member: share}


@pytest.mark.parametrize(
    ("given", "days", "length"),
    [({}, 1, timedelta(days=1)), ({"days": "7"}, 7, timedelta(days=7))],
)
def test_the_address_names_the_last_days(given: Any, days: int, length: timedelta) -> None:
    period = read_period(given, NOON, "UTC")
    assert (period.days, period.window.length, period.fault) == (days, length, None)


def test_dates_are_whole_days_of_the_zone() -> None:
    given = {"first": "2026-04-28", "last": "2026-04-29"}
    window = read_period(given, NOON, "Europe/Berlin").window
    begins_at = datetime(2026, 4, 27, 22, tzinfo=UTC)
    assert window[:2] == (begins_at, begins_at + timedelta(days=2))


@pytest.mark.parametrize(
    "given",
    [
        {"days": "2"},
        {"first": "x"},
        {"first": "2026-05-02"},
        {"first": "2026-04-29", "last": "2026-04-28"},
        {"first": "2025-01-01"},
        {"first": "0001-01-01"},
        {"last": "9999-12-31"},
    ],
)
def test_a_period_that_cannot_be_is_the_last_day_with_a_reason(given: dict[str, str]) -> None:
    period = read_period(given, NOON, "Pacific/Auckland")
    assert period.window.length == timedelta(days=1)
    assert period.fault


def test_an_hour_below_the_aim_is_another_kind_of_bar() -> None:
    hours = [hour(0, 0.99), hour(1, None), hour(2, 0.5)]
    bars = pictures.draw_hours(hours, "fresh_share", 0.95, WINDOW, "UTC")
    assert [(bar.kind, bar.left, bar.height) for bar in bars] == [
        ("good", "0.000%", "99.000%"),
        ("bad", "20.000%", "50.000%"),
    ]
    assert bars[1].says == "2026-05-01 14:00: 50.0 %"


def test_the_calendar_has_days_of_the_zone_newest_first() -> None:
    days = pictures.draw_calendar([hour(0, 0.9), hour(12, 1.0)], 0.95, "Asia/Tokyo")
    assert [(day.day, day.known, day.below, day.worst) for day in days] == [
        ("2026-05-02", 1, 0, 1.0),
        ("2026-05-01", 1, 1, 0.9),
    ]
    assert [cell.kind for cell in days[1].cells].index("bad") == 21


def test_a_share_is_never_rounded_up_to_what_it_is_not() -> None:
    shown = [pictures.show_share(share) for share in (None, 0.9999999, 1.0, 0.95, 0.94999)]
    assert shown == ["not known", "99.99 %", "100.0 %", "95.0 %", "94.9 %"]


def test_ages_stand_on_a_scale_of_powers_of_ten() -> None:
    scale = pictures.draw_scale({"p50": 10.0, "p99": None, "oldest": 1000.0}, 100.0)
    assert [point.name for point in scale.points] == ["p50", "oldest"]
    assert (scale.points[0].left, scale.target) == ("31.485%", "62.970%")


def test_late_starts_are_counted_by_class() -> None:
    def cycle(late: float | None, trigger: str = "schedule") -> dict[str, Any]:
        started_at = None if late is None else (NOON + timedelta(seconds=late)).isoformat()
        return {"slot_start_at": NOON.isoformat(), "started_at": started_at, "trigger": trigger}

    cycles = [cycle(0.03), cycle(0.1), cycle(20), cycle(500), cycle(None), cycle(9, "manual")]
    assert [one.cycles for one in pictures.count_late(cycles, WINDOW)] == [1, 1, 0, 1, 0, 1]


def test_a_burn_rate_above_one_is_marked() -> None:
    bars, line = pictures.draw_burn([{"burn_rate": 4.0}, {"burn_rate": 0.5}, {"burn_rate": None}])
    assert [bar.kind for bar in bars] == ["bad", "good", "none"]
    assert line == "20.000%"


async def test_the_page_shows_what_was_counted(harness: Harness) -> None:
    harness.let_pass(600)
    await harness.report("bus-1", soc_percent=50)
    await harness.run_cycle()
    harness.let_pass(60)
    page = await (await visit(harness)).read(PAGE)
    assert "1 of 1 hours were below the aim of 95.0 %" in page
    assert "33.3 %" in page
    assert "less than 0.1 s" in page


@pytest.mark.parametrize("query", ["days=7", "days=90", "first=2026-04-30", "days=x"])
async def test_every_period_can_be_shown(harness: Harness, query: str) -> None:
    await harness.run_cycle()
    harness.let_pass(60)
    assert "indicators" in await (await visit(harness)).read(f"{PAGE}?{query}")


async def test_without_cycles_the_page_says_so(harness: Harness) -> None:
    harness.let_pass(60)
    page = await (await visit(harness)).read(PAGE)
    assert "No cycle was counted in this period" in page
    assert "No device has reported yet" in page
