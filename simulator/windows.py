"""Troubles of a whole account that come again and again: from when to when. Pure.

Owns the kinds and their timetable. provider.py carries them out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trouble(StrEnum):
    """What a vendor's answers say during the trouble, for every vehicle of the account."""

    OUTAGE = "outage"
    QUOTA = "quota"
    REFUSAL = "refusal"


STATUSES: Final = {Trouble.OUTAGE: 503, Trouble.QUOTA: 429, Trouble.REFUSAL: 401}
PARTIES: Final = {
    Trouble.OUTAGE: "provider",
    Trouble.QUOTA: "provider",
    Trouble.REFUSAL: "customer",
}


class Window(NamedTuple):
    """A trouble that begins at every multiple of `every` seconds, and lasts `length` seconds."""

    trouble: Trouble
    every: float
    length: float

    def ends_at(self, seconds: float) -> float | None:
        """Return when the trouble of this instant ends, or None if there is none."""
        turn = int(seconds // self.every)
        end = turn * self.every + self.length
        return end if turn >= 1 and seconds < end else None

    def spans(self, until: float) -> Iterator[tuple[float, float]]:
        """Yield begin and end of every occurrence that has begun by `until`."""
        turn = 1
        while turn * self.every <= until:
            yield turn * self.every, turn * self.every + self.length
            turn += 1


def trouble_at(windows: tuple[Window, ...], seconds: float) -> tuple[Trouble, float] | None:
    """Return the trouble of this instant and when it ends, or None."""
    for window in windows:
        end = window.ends_at(seconds)
        if end is not None:
            return window.trouble, end
    return None
