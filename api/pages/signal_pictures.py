"""The signals of a day as small pictures: numbers as step lines, states as bands.

A value holds until the next one came, but not for longer than its signal stays young: then the line
is broken. The paths lie in a field of WIDTH by HEIGHT units.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.pages.times import parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from api.pages.time_window import TimeSpan

WIDTH: Final = 1000
HEIGHT: Final = 100
_ROOM: Final = 0.06  # of the height, above the highest and below the lowest value
_LAST: Final = ("latitude_deg", "longitude_deg")  # less telling than the others


class Band(NamedTuple):
    """A time in which a signal had one value. Places are in units of the field."""

    left: float
    width: float
    value: str
    tone: int


class SignalPicture(NamedTuple):
    """One signal. `path` is empty for a signal of states, `bands` for one of numbers."""

    name: str
    unit: str
    description: str
    path: str
    bands: Sequence[Band]
    lowest: str
    highest: str
    newest: str
    newest_at: datetime
    says: str


class _Stretch(NamedTuple):
    """A value, and for how long it held."""

    value: Any
    begins_at: datetime
    ends_at: datetime
    is_followed: bool


def draw_signals(
    day: Mapping[str, Any], catalogue: Sequence[Mapping[str, Any]], window: TimeSpan
) -> list[SignalPicture]:
    """Return a picture of each signal that came, in the order of the catalogue."""
    signals = day["signals"]
    known = [one for one in catalogue if signals.get(one["signal"])]
    known.sort(key=lambda one: one["signal"] in _LAST)
    bucket = timedelta(seconds=day["bucket_seconds"])
    return [_draw(one, signals[one["signal"]], window, bucket) for one in known]


def _draw(
    about: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    window: TimeSpan,
    bucket: timedelta,
) -> SignalPicture:
    young_for = max(timedelta(seconds=about["old_after_seconds"]), 2.5 * bucket)
    stretches = list(_stretch(points, window, young_for))
    is_number = about["kind"] == "number"
    newest = points[-1]
    values = [point["value"] for point in points]
    lowest, highest = (min(values), max(values)) if is_number else (None, None)
    return SignalPicture(
        name=about["signal"],
        unit=about["unit"],
        description=about["description"],
        path=_path(stretches, window, lowest, highest) if is_number else "",
        bands=[] if is_number else list(_bands(stretches, window)),
        lowest=show_value(lowest),
        highest=show_value(highest),
        newest=show_value(newest["value"]),
        newest_at=parse_instant(newest["observed_at"]),
        says=_say(about, values),
    )


def _stretch(
    points: Sequence[Mapping[str, Any]], window: TimeSpan, young_for: timedelta
) -> Iterator[_Stretch]:
    """Yield each value with its time; from the window's beginning if it was observed before."""
    times = [max(parse_instant(point["observed_at"]), window.begins_at) for point in points]
    for point, (at, following) in zip(points, pairwise([*times, window.ends_at]), strict=True):
        ends_at = max(at, min(following, at + young_for))
        yield _Stretch(point["value"], at, ends_at, is_followed=ends_at == following)


def _path(stretches: Sequence[_Stretch], window: TimeSpan, lowest: Any, highest: Any) -> str:
    """Return a step line: across while a value holds, up or down to the next one."""
    parts, is_drawing = [], False
    for stretch in stretches:
        left, right = _left(window, stretch.begins_at), _left(window, stretch.ends_at)
        top = _top(stretch.value, lowest, highest)
        parts.append(f"V{top:g}" if is_drawing else f"M{left:g} {top:g}")
        parts.append(f"H{right:g}")
        is_drawing = stretch.is_followed
    return "".join(parts)


def _bands(stretches: Sequence[_Stretch], window: TimeSpan) -> Iterator[Band]:
    """Yield each time with one value; values one after the other that are equal are one band."""
    tones: dict[str, int] = {"no": 0, "yes": 1}
    held: _Stretch | None = None
    for stretch in stretches:
        if held and held.is_followed and held.value == stretch.value:
            held = held._replace(ends_at=stretch.ends_at, is_followed=stretch.is_followed)
            continue
        if held:
            yield _band(held, window, tones)
        held = stretch
    if held:
        yield _band(held, window, tones)


def _band(stretch: _Stretch, window: TimeSpan, tones: dict[str, int]) -> Band:
    left, right = _left(window, stretch.begins_at), _left(window, stretch.ends_at)
    value = show_value(stretch.value)
    tone = tones.setdefault(value, len(tones)) % 4
    return Band(left, round(max(2.0, right - left), 1), value, tone)


def _left(window: TimeSpan, at: datetime) -> float:
    return round(window.left_of(at) / 100 * WIDTH, 1)


def _top(value: Any, lowest: Any, highest: Any) -> float:
    share = 0.5 if highest == lowest else (value - lowest) / (highest - lowest)
    return round(HEIGHT * (1 - _ROOM - share * (1 - 2 * _ROOM)), 1)


def show_value(value: Any) -> str:
    """Return a value of a signal as text; empty for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.5f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


def _say(about: Mapping[str, Any], values: Sequence[Any]) -> str:
    newest = show_value(values[-1])
    if about["kind"] == "number":
        unit = f" {about['unit']}" if about["unit"] else ""
        span = f"from {show_value(min(values))} to {show_value(max(values))}{unit}"
        return f"{about['signal']}: {span}, at last {newest}{unit}."
    changes = sum(a != b for a, b in pairwise(values))
    word = "change" if changes == 1 else "changes"
    return f"{about['signal']}: {changes} {word}, at last {newest}."
