"""The aims of `make bench-quick`, all in one place, and the judgement of a run by them. Pure.

An aim is a ratio to a reference of the same run, because machines differ and are noisy. The median
of the rounds is judged. Each aim leaves room for a crowded machine: a mistake in the code must miss
it, other work on the machine must not. `make bench-compare` finds changes of a few percent.
"""

from __future__ import annotations

from typing import NamedTuple


class Aim(NamedTuple):
    """A bound on one figure: `at_least` or `at_most`."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        return (
            f"at least {self.at_least:g}"
            if self.at_least is not None
            else f"at most {self.at_most:g}"
        )

    def miss(self, found: float) -> str | None:
        """Return a sentence if the figure misses the aim, else None."""
        low = self.at_least is not None and not found >= self.at_least
        high = self.at_most is not None and not found <= self.at_most
        return f"aim: {self.figure} is {found:.3g}, aimed at {self}" if low or high else None


# A rate falls when something waits, a core time rises when something computes more.
FRAMES = Aim("frames a second, as a share of the reference's", at_least=0.45)
FRAMES_CORES = Aim("core time a frame, in core times of the reference", at_most=2.5)
UPDATES = Aim("updates a second, as a share of the reference's", at_least=0.35)
UPDATES_CORES = Aim("core time an update, in core times of the reference", at_most=2.3)
HEALTH_MS = Aim("health's p95 in milliseconds", at_most=300)  # NFR-005
# The frame aims are for fleets whose frames coalesce. With more vehicles each sends fewer frames in
# a window, in the end one, and the figure becomes that of updates; it is printed, and not judged.
MOST_VEHICLES = 200
# The reference's p95 is a few milliseconds, so this ratio doubles from one round to the next.
HEALTH = Aim("health's p95, in p95s of the reference", at_most=40)
