"""The poll plan: the starts of a slot as a picture, and those that went wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from api.pages.time_window import TimeSpan, find_ticks, percent
from api.pages.times import parse_instant, show_age
from api.pages.viewer import current_viewer
from api.pages.words import meaning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.pages.page import Pages, Values

HEADROOM: Final = 1.15  # the picture is a little higher than the highest of bound and starts
WORST_FIRST: Final = ("overdue", "missed", "late", "awaited", "on_time")


def declare_plan(pages: Pages) -> None:
    @pages.page("/plan", "plan.html")
    async def show_plan() -> Values:
        plan = await pages.ask.get(current_viewer(), "/plan")
        return {"plan": plan, "picture": draw_plan(plan), "STARTS": WORST_FIRST, "why": tell_why}


def draw_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outline of the starts in a field of a unit a second, and places in percent."""
    begins_at = parse_instant(plan["begins_at"])
    window = TimeSpan(begins_at, begins_at + timedelta(seconds=plan["seconds"]))
    bound, fullest = plan["most_in_a_second"], plan["fullest_second"]
    top = max(bound, fullest, 1) * HEADROOM
    return {
        "window": window,
        "ticks": find_ticks(window, "UTC"),
        "top": f"{top:g}",
        "outline": _outline(plan["starts"], top),
        "bound_at": percent(100 - bound / top * 100),
        "now_at": percent(window.left_of(parse_instant(plan["evaluated_at"]))),
        "to_come": percent(100 - window.left_of(parse_instant(plan["evaluated_at"]))),
        "is_over": fullest > bound,
        "mean": sum(plan["starts"]) / plan["seconds"],
    }


def _outline(starts: Sequence[int], top: float) -> str:
    """Return the starts as the outline of an area. Equal neighbours are one step."""
    parts, held = [f"M0 {top:g}"], None
    for second, count in enumerate(starts):
        if count != held:
            parts.append(f"H{second}V{top - count:g}")
            held = count
    return "".join([*parts, f"H{len(starts)}V{top:g}Z"])


def tell_why(start: Mapping[str, Any]) -> str:
    """Return how late a start was, and why, as far as it is recorded."""
    late = show_age(start["late_seconds"]) if start["late_seconds"] is not None else None
    if start["state"] == "overdue":
        return f"No start is recorded for {late}: its shard may be gone, paused or busy."
    if start["state"] == "missed":
        return f"{meaning('CycleOutcome', 'missed').capitalize()}."
    if start["trigger"] == "late":
        return (
            "It makes up for a missed start: after a restart, a takeover or a resume, starts are "
            "spread over the slot."
        )
    return "Its shard began it late: it was busy, or waited for the database."
