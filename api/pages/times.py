"""Instants and durations as the pages write them.

Without a script an instant is shown in the time zone of the page: the workspace's, or UTC. The
script in static/times.js can show it in the viewer's. UTC is always there, on hover.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from runtime.instants import format_instant

_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def parse_instant(value: str | datetime) -> datetime:
    """Return an instant of the API's JSON, aware and in UTC."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found.astimezone(UTC)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def show_instant(value: str | datetime | None, zone: str = "UTC", empty: str = "never") -> str:
    """Return an instant as a `time` element, with UTC in its title; `empty` for None."""
    if value is None:
        return Markup('<span class="none">{}</span>').format(empty)
    at = parse_instant(value)
    utc = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    local = f"{at.astimezone(_zone(zone)):%Y-%m-%d %H:%M:%S}"
    return Markup('<time datetime="{}" title="{}" data-zone="{}">{}</time>').format(
        format_instant(at, "seconds"), utc, zone, local
    )


def show_age(seconds: float | None, empty: str = "never") -> str:
    """Return a duration in its two largest units: `3 min 20 s`, `2 d 4 h`."""
    if seconds is None:
        return escape(empty)
    left = max(0, int(seconds))
    for (size, unit), (next_size, next_unit) in pairwise(_STEPS):
        if left >= size:
            rest = left % size // next_size
            return f"{left // size} {unit}" + (f" {rest} {next_unit}" if rest else "")
    return f"{left} s"


def show_since(
    value: str | datetime | None, now: datetime, empty: str = "never", field: str | None = None
) -> str:
    """Return the age of an instant as a `time` element that static/times.js keeps counting.

    `field`: its name in a live row (docs/pages.md).
    """
    live = Markup("") if field is None else Markup(' data-field="{}"').format(field)
    if value is None:
        return Markup('<span class="none"{}>{}</span>').format(live, empty)
    at = parse_instant(value)
    return Markup('<time class="age" datetime="{}" title="{}" data-age{}>{}</time>').format(
        format_instant(at),
        f"{at:%Y-%m-%d %H:%M:%S} UTC",
        live,
        show_age((now - at).total_seconds()),
    )
