"""The span of time that a picture shows, as its address says it, with the way to others.

A window has one of a few lengths. It is moved by half of its length, and never beyond now. Without
`from` and `to` in the address it is the last day, and goes on with the time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from runtime.instants import format_instant

DAY: Final = timedelta(hours=24)
# The lengths to which a picture can be zoomed, longest first.
LENGTHS: Final = (
    DAY,
    timedelta(hours=12),
    timedelta(hours=6),
    timedelta(hours=3),
    timedelta(hours=1),
    timedelta(minutes=30),
    timedelta(minutes=10),
    timedelta(minutes=2),
)
_TICKS: Final = (5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14_400)  # seconds between two
_MOST_TICKS: Final = 8
_LAST_LABEL: Final = 89.0  # percent of an axis; a label further right is cut off on a phone


class Tick(NamedTuple):
    """A mark of the time axis. `left` is in percent of the window.

    `label` is empty near the end of the axis, where it would be cut off.
    """

    left: str
    label: str


class TimeSpan(NamedTuple):
    """From `begins_at` until before `ends_at`. `is_given`: the address says it."""

    begins_at: datetime
    ends_at: datetime
    is_given: bool = False

    @property
    def length(self) -> timedelta:
        return self.ends_at - self.begins_at

    def left_of(self, at: datetime) -> float:
        """Return where an instant is, in percent of the window; from 0 to 100."""
        return min(100.0, max(0.0, (at - self.begins_at) / self.length * 100))

    def query(self) -> str:
        """Return the query of the window's address."""
        begins, ends = (format_instant(at, "seconds") for at in (self.begins_at, self.ends_at))
        return f"from={begins}&to={ends}"


def read_window(begins: str | None, ends: str | None, now: datetime) -> TimeSpan | None:
    """Return the window of an address; None if it names none that can be shown."""
    if begins is None and ends is None:
        return TimeSpan(now - DAY, now)
    try:
        ends_at = now if ends is None else min(now, _parse(ends))
        begins_at = ends_at - DAY if begins is None else _parse(begins)
    except (ValueError, OverflowError):
        return None
    if not timedelta(0) < ends_at - begins_at <= DAY:
        return None
    return TimeSpan(begins_at, ends_at, is_given=True)


def _parse(text: str) -> datetime:
    at = datetime.fromisoformat(text.replace(" ", "+"))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def find_neighbours(window: TimeSpan, now: datetime) -> dict[str, str | None]:
    """Return the queries of the windows that can be reached: in, out, earlier, later, all.

    None: there is none further.
    """
    shorter = next((one for one in LENGTHS if one < window.length), None)
    longer = next((one for one in reversed(LENGTHS) if one > window.length), None)
    is_at_end = window.ends_at >= now
    return {
        "in": None if shorter is None else _resize(window, shorter, now).query(),
        "out": None if longer is None else _resize(window, longer, now).query(),
        "earlier": _shift(window, -window.length / 2, now).query(),
        "later": None if is_at_end else _shift(window, window.length / 2, now).query(),
        "all": "" if window.is_given else None,
    }


def _resize(window: TimeSpan, length: timedelta, now: datetime) -> TimeSpan:
    """Return a window around the same middle; at the end of time, with the same end."""
    if window.ends_at >= now:
        return TimeSpan(now - length, now)
    ends_at = min(now, window.begins_at + window.length / 2 + length / 2)
    return TimeSpan(ends_at - length, ends_at)


def _shift(window: TimeSpan, by: timedelta, now: datetime) -> TimeSpan:
    ends_at = min(now, window.ends_at + by)
    return TimeSpan(ends_at - window.length, ends_at)


def find_ticks(window: TimeSpan, zone: str) -> list[Tick]:
    """Return the marks of the time axis, at round times of the zone."""
    seconds = window.length.total_seconds()
    step = next((one for one in _TICKS if seconds / one <= _MOST_TICKS), _TICKS[-1])
    local = window.begins_at.astimezone(ZoneInfo(zone))
    into_day = local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6
    at = window.begins_at + timedelta(seconds=-into_day % step)
    shape = "%H:%M:%S" if step < 60 else "%H:%M"
    ticks = []
    while at < window.ends_at:
        left = window.left_of(at)
        label = f"{at.astimezone(ZoneInfo(zone)):{shape}}" if left <= _LAST_LABEL else ""
        ticks.append(Tick(percent(left), label))
        at += timedelta(seconds=step)
    return ticks


def percent(value: float) -> str:
    """Return a share in percent as SVG's attributes take it."""
    return f"{value:.3f}%"
