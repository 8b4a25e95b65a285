"""Small pictures of a day beside a row: a line of values, and in which hours news came. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from api.pages.numbers import show_value

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP: Final = 4.0  # units for an hour
HEIGHT: Final = 20.0
_MARGIN: Final = 2.0


class Sparkline(NamedTuple):
    """A path of SVG and what it shows in words. Hours without a value break the line."""

    path: str
    words: str


def draw_line(values: Sequence[float | None], limits: tuple[float, float], unit: str) -> Sparkline:
    """Return the line of an hour's values, oldest first, between limits."""
    known = [value for value in values if value is not None]
    if not known:
        return Sparkline("", "no value in the last 24 hours")
    low, high = limits
    parts, is_broken = [], True
    for place, value in enumerate(values):
        if value is None:
            is_broken = True
            continue
        share = (min(max(value, low), high) - low) / (high - low)
        y = HEIGHT - _MARGIN - share * (HEIGHT - 2 * _MARGIN)
        # A value alone is a short line, since a point has no length.
        move = (
            f"M{place * STEP:g} {y:.1f}h{STEP:g}"
            if is_broken
            else f"L{(place + 1) * STEP:g} {y:.1f}"
        )
        parts.append(move)
        is_broken = False
    first, last = show_value(known[0], unit), show_value(known[-1], unit)
    least, most = show_value(min(known), unit), show_value(max(known), unit)
    words = f"from {first} to {last}, between {least} and {most}"
    return Sparkline("".join(parts), words)


class Presence(NamedTuple):
    """The hours with news, by their place from the left, and the same in words."""

    hours: Sequence[int]
    words: str


def draw_presence(heard: Sequence[object]) -> Presence:
    hours = [place for place, each in enumerate(heard) if each is not None]
    return Presence(hours, f"news in {len(hours)} of the last {len(heard)} hours")
