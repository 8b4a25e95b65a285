"""The indicators of a workspace as pictures: bars, a calendar of hours, scales.

From the JSON of the API to places in percent. Each picture has its sentence, and the template a
table of its numbers. Shares that are not known are left empty, never drawn as 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from api.pages.time_window import percent
from api.pages.times import parse_instant, show_age

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from api.pages.time_window import TimeSpan

HOURS: Final = 24
BURN_ROOM: Final = 1.25
_SCALE_STARTS_AT: Final = 1.0  # seconds, on a scale of powers of ten
_TICKS: Final = (1, 10, 60, 600, 3600, 21_600, 86_400, 604_800)
# Upper ends of the classes in which late starts are counted, in seconds.
_LATE: Final = (0.1, 1.0, 5.0, 30.0, 120.0)


class Bar(NamedTuple):
    """A bar from the ground. `kind` is a class of static/indicators.css; `says` is its text."""

    kind: str
    left: str
    width: str
    top: str
    height: str
    says: str


class Cell(NamedTuple):
    """An hour of the calendar. `kind`: good, bad, or none where nothing was counted."""

    kind: str
    says: str


class CalendarDay(NamedTuple):
    """A day of the calendar, and its hours in the zone of the page. `worst` is a share."""

    day: str
    cells: Sequence[Cell]
    known: int
    below: int
    worst: float | None


class Point(NamedTuple):
    """A value on a scale."""

    name: str
    left: str
    value: str


class Scale(NamedTuple):
    """Values on a scale of powers of ten, with a line at the target."""

    points: Sequence[Point]
    ticks: Sequence[Point]
    target: str | None


class LateClass(NamedTuple):
    """How many cycles started so late."""

    name: str
    cycles: int
    width: str


def show_share(share: float | None) -> str:
    """Return a share in percent, with as many digits as its distance from 100% needs."""
    if share is None:
        return "not known"
    digits = 2 if 0.99 < share < 1 else 1
    rounded = f"{math.floor(share * 100 * 10**digits) / 10**digits:.{digits}f}"
    return f"{rounded} %"


def draw_hours(
    hours: Iterable[Mapping[str, Any]],
    member: str,
    least: float | None,
    window: TimeSpan,
    zone: str,
) -> list[Bar]:
    """Return a bar for each hour of which the share is known; `bad` below `least`."""
    bars = []
    for hour in hours:
        share = hour[member]
        if share is None:
            continue
        begins_at, ends_at = parse_instant(hour["begins_at"]), parse_instant(hour["ends_at"])
        left, right = window.left_of(begins_at), window.left_of(ends_at)
        kind = "bad" if least is not None and share < least else "good"
        says = f"{_clock(begins_at, zone)}: {show_share(share)}"
        width = percent(max(0.1, (right - left) * 0.9))
        height = max(1.0, share * 100)
        place = percent(left), width, percent(100 - height), percent(height)
        bars.append(Bar(kind, *place, says))
    return bars


def draw_calendar(hours: Iterable[Mapping[str, Any]], least: float, zone: str) -> list[CalendarDay]:
    """Return the days, newest first, each with its hours. An hour says its share."""
    days: dict[str, dict[int, float]] = {}
    for hour in hours:
        if hour["fresh_share"] is not None:
            local = parse_instant(hour["begins_at"]).astimezone(ZoneInfo(zone))
            days.setdefault(f"{local:%Y-%m-%d}", {})[local.hour] = hour["fresh_share"]
    return [_draw_day(day, shares, least) for day, shares in sorted(days.items(), reverse=True)]


def _draw_day(day: str, shares: Mapping[int, float], least: float) -> CalendarDay:
    cells = []
    for hour in range(HOURS):
        share = shares.get(hour)
        kind = "none" if share is None else "bad" if share < least else "good"
        cells.append(Cell(kind, f"{day} {hour:02}:00: {show_share(share)}"))
    below = sum(share < least for share in shares.values())
    return CalendarDay(day, cells, len(shares), below, min(shares.values()))


def draw_scale(values: Mapping[str, float | None], target: float | None) -> Scale:
    """Return values in seconds on a scale of powers of ten that holds all of them."""
    known = {name: value for name, value in values.items() if value is not None}
    most = max([*known.values(), target or 0.0, 60.0]) * 1.5

    def place(seconds: float) -> str:
        shown = math.log10(max(seconds, _SCALE_STARTS_AT)) / math.log10(most)
        return percent(shown * 100)

    return Scale(
        [Point(name, place(value), show_seconds(value)) for name, value in known.items()],
        [Point("", place(tick), show_age(tick)) for tick in _TICKS if tick <= most],
        None if target is None else place(target),
    )


def show_seconds(seconds: float | None) -> str:
    """Return a duration: seconds with digits where they matter."""
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if seconds < 60 else show_age(seconds)


def draw_burn(rates: Sequence[Mapping[str, Any]]) -> tuple[list[Bar], str]:
    """Return a bar for each window that is known, and where the rate of 1 is."""
    most = max([1.0, *(rate["burn_rate"] or 0.0 for rate in rates)]) * BURN_ROOM
    bars = []
    for rate in rates:
        burn = rate["burn_rate"]
        width = percent(0 if burn is None else max(0.3, burn / most * 100))
        kind = "none" if burn is None else "bad" if burn > 1 else "good"
        says = "not known" if burn is None else f"{burn:.2f}"
        bars.append(Bar(kind, "0%", width, "15%", "70%", says))
    return bars, percent(100 / most)


def draw_parts(counts: Mapping[str, int]) -> list[Bar]:
    """Return one bar that is cut into parts, in the given order."""
    total, left, bars = sum(counts.values()) or 1, 0.0, []
    for name, count in counts.items():
        width = count / total * 100
        says = f"{name.replace('_', ' ')}: {count:,}"
        bars.append(Bar(name, percent(left), percent(width), "0%", "100%", says))
        left += width
    return bars


def count_late(cycles: Iterable[Mapping[str, Any]], window: TimeSpan) -> list[LateClass]:
    """Return how late the recorded cycles of the window started, by class."""
    counts = [0] * (len(_LATE) + 1)
    for cycle in cycles:
        slot = parse_instant(cycle["slot_start_at"])
        if cycle["trigger"] == "manual" or not window.begins_at <= slot < window.ends_at:
            continue
        if cycle["started_at"] is not None:
            late = (parse_instant(cycle["started_at"]) - slot).total_seconds()
            counts[sum(late >= bound for bound in _LATE)] += 1
    most = max([*counts, 1])
    names = ["less than 0.1 s", "0.1 to 1 s", "1 to 5 s", "5 to 30 s", "30 s to 2 min", "2 min on"]
    return [
        LateClass(name, count, percent(count / most * 100))
        for name, count in zip(names, counts, strict=True)
    ]


def _clock(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
