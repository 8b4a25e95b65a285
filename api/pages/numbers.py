"""Numbers as the pages write them: aligned, with a unit, and never better than they are."""

from __future__ import annotations

from math import floor
from typing import Any, Final

NOT_KNOWN: Final = "not known"
_THIN: Final = "\u202f"  # a narrow space that does not break, before a unit and between thousands


def show_percent(share: float | None, empty: str = NOT_KNOWN) -> str:
    """Return a share of 1 in percent, rounded down: 0.9999 is not yet 100."""
    return empty if share is None else f"{floor(share * 1000 + 1e-9) / 10:.1f}{_THIN}%"


def show_count(count: int | None, empty: str = NOT_KNOWN) -> str:
    """Return a count with its thousands apart."""
    return empty if count is None else f"{count:,}".replace(",", _THIN)


def show_rounded(value: Any, digits: int | None = None) -> str:
    """Return a value without its unit, a number with so many digits; static/live_rows.js does too.

    `digits=None` is for values that are no numbers.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if digits is None or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.{digits}f}".replace(",", _THIN)


def show_value(value: Any, unit: str | None = None, empty: str = NOT_KNOWN) -> str:
    """Return the value of a signal with its unit: `64.5 %`, `yes`, or `not known` for None."""
    if value is None:
        return empty
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        text = show_count(round(value)) if abs(value) >= 1000 else f"{value:.1f}".removesuffix(".0")
    else:
        text = str(value)
    return f"{text}{_THIN}{unit}" if unit else text
