"""One judged figure of a benchmark: what was found, and the bound that it must keep. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Figure(NamedTuple):
    """A verified ratio (or another figure, in the unit that its name says) and its bound.

    `name` begins with the id of its benchmark: "B2", or "B5 exact counts, 100,000 devices". `seen`
    has what the figure was made from, for build/bench.json: rates, times, sizes, by name with unit.
    """

    name: str
    found: float
    must: float
    at_most: bool = False  # else: at least
    seen: Mapping[str, float] = {}

    @property
    def is_met(self) -> bool:
        """Return whether the bound is kept. A figure that is no number keeps none."""
        return self.found <= self.must if self.at_most else self.found >= self.must

    def as_entry(self) -> dict[str, Any]:
        """Return the entry for build/bench.json. A figure exists only if it was verified."""
        return {
            "ratio": self.found,
            "must": self.must,
            "bound": "at most" if self.at_most else "at least",
            "met": self.is_met,
            "verified": True,
            **self.seen,
        }

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        verdict = "met" if self.is_met else "MISSED"
        return f"{self.name}: {self.found:.3g} (must be {bound} {self.must:g}): {verdict}"
