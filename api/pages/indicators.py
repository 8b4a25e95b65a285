"""The indicators of a workspace as pictures that print: objective, ages, cycles, completeness.

The numbers are those of `…/indicators` for the period in the address. How late cycles started comes
from the list of cycles.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from quart import g, request

from api.pages import indicator_pictures as pictures
from api.pages.contract import ContractRefused, Question, path_of
from api.pages.time_window import TimeSpan, find_ticks
from api.pages.viewer import current_viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.pages.contract import ContractAnswer
    from api.pages.page import Pages, Values

PATH: Final = "/workspaces/<workspace_id>/indicators"
DAYS: Final = (1, 7, 30, 90)
MAX_PERIOD: Final = timedelta(days=90)
BARS_UP_TO: Final = timedelta(days=3)  # a longer period is a calendar of hours
LISTED_HOURS: Final = 72
COUNTED_CYCLES: Final = 500


class Period(NamedTuple):
    """What the address asks for. `days` is None if it names dates; `fault` says what is wrong."""

    window: TimeSpan
    days: int | None
    fault: str | None = None


def declare_indicators(pages: Pages) -> None:
    @pages.page(PATH, "indicators.html")
    async def show_indicators(workspace_id: str) -> Values:
        now: datetime = g.now if "now" in g else pages.services.clock.now()
        viewer, root = current_viewer(), path_of("workspaces", workspace_id)
        workspace = await pages.ask.get(viewer, root)
        period = read_period(request.args, now, workspace["time_zone"])
        questions = {
            "indicators": Question(f"{root}/indicators", _span(period.window)),
            "cycles": Question(f"{root}/cycles", {"limit": COUNTED_CYCLES}),
        }
        answers = await pages.ask.get_each(viewer, questions)
        found = _require(answers["indicators"])
        cycles = answers["cycles"]
        return {
            "workspace": workspace,
            "zone": workspace["time_zone"],
            "period": period,
            "first": request.args.get("first", "") if period.days is None else "",
            "last": request.args.get("last", "") if period.days is None else "",
            "DAYS": DAYS,
            "share": pictures.show_share,
            "seconds": pictures.show_seconds,
            "found": found,
            "picture": _draw(found, period.window, workspace["time_zone"]),
            "late": None if cycles.is_refused else _count_late(cycles.json, period.window),
        }


def _require(answer: ContractAnswer) -> Any:
    if answer.is_refused:
        raise ContractRefused(answer.status, answer.json, answer.headers)
    return answer.json


def _span(window: TimeSpan) -> dict[str, str]:
    return {"from": window.begins_at.isoformat(), "to": window.ends_at.isoformat()}


def read_period(given: Mapping[str, str], now: datetime, zone: str) -> Period:
    """Return the period of the address: the last days, or whole days of the zone, both included.

    What cannot be is answered with the last day, and with what is wrong.
    """
    first, last = given.get("first", ""), given.get("last", "")
    if first or last:
        window = _read_dates(first, last, now, zone)
        if isinstance(window, TimeSpan):
            return Period(window, None)
        return Period(TimeSpan(now - timedelta(days=1), now), 1, window)
    text = given.get("days", "1")
    days = int(text) if text in {str(each) for each in DAYS} else 1
    fault = None if text == str(days) else f"`days` is one of {', '.join(map(str, DAYS))}."
    # A moment less than 90 days: the answer's now is a little later than the page's.
    length = min(timedelta(days=days), MAX_PERIOD - timedelta(minutes=1))
    return Period(TimeSpan(now - length, now), days, fault)


def _read_dates(first: str, last: str, now: datetime, zone: str) -> TimeSpan | str:
    try:
        begins = date.fromisoformat(first or last)
        ends = date.fromisoformat(last or first) + timedelta(days=1)
    except (ValueError, OverflowError):
        return "Give both days as YYYY-MM-DD."
    begins_at, ends_at = (_midnight(each, zone) for each in (begins, ends))
    ends_at = min(ends_at, now)
    if begins_at >= ends_at:
        return "The first day must not be after the last one, nor after today."
    if begins_at < now - MAX_PERIOD:
        return "Indicators go back 90 days: choose a later first day."
    return TimeSpan(begins_at, ends_at, is_given=True)


def _midnight(day: date, zone: str) -> datetime:
    try:
        return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
    except OverflowError:  # the first or the last day that there is
        return datetime.combine(day, time(), UTC)


def _draw(found: Mapping[str, Any], window: TimeSpan, zone: str) -> dict[str, Any]:
    hours, objective = found["hours"], found["objective"]["objective_share"]
    has_bars = window.length <= BARS_UP_TO
    freshness = found["freshness"]
    ages = {name: freshness["age"][f"{name}_seconds"] for name in ("p50", "p90", "p95", "p99")}
    burn, burn_line = pictures.draw_burn(found["objective"]["burn_rates"])
    return {
        "has_bars": has_bars,
        "ticks": find_ticks(window, zone),
        "fresh": pictures.draw_hours(hours, "fresh_share", objective, window, zone),
        "covered": pictures.draw_hours(hours, "cycle_coverage_share", None, window, zone),
        "succeeded": pictures.draw_hours(hours, "success_share", None, window, zone),
        "calendar": [] if has_bars else pictures.draw_calendar(hours, objective, zone),
        "hours": list(reversed(hours))[:LISTED_HOURS],
        "below": sum(h["fresh_share"] is not None and h["fresh_share"] < objective for h in hours),
        "known": sum(hour["fresh_share"] is not None for hour in hours),
        "ages": pictures.draw_scale(
            {**ages, "oldest": freshness["oldest_age_seconds"]},
            freshness["freshness_target_seconds"],
        ),
        "burn": list(zip(found["objective"]["burn_rates"], burn, strict=True)),
        "burn_line": burn_line,
        "outcomes": pictures.draw_parts(found["cycles"]["outcomes"]),
    }


def _count_late(listed: Mapping[str, Any], window: TimeSpan) -> dict[str, Any]:
    """Return the classes, and from when on cycles are counted: only the newest are listed."""
    items = listed["items"]
    oldest = min((item["slot_start_at"] for item in items), default=None)
    return {
        "classes": pictures.count_late(items, window),
        "since": oldest if listed["next_cursor"] and oldest else None,
    }
