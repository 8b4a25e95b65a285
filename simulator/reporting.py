"""When vehicles report: how each of them keeps or loses its rhythm, and whose turn it is.

Owns `Reporting` (one vehicle's manners) and `Timetable` (the turns of a whole fleet in one heap, so that ten thousand
vehicles cost one task). Pure: elapsed seconds come in from outside.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# Successive multiples modulo 1 fill the unit interval almost evenly, whatever the number of vehicles.
_GOLDEN_RATIO: Final = 0.618033988749895
# A fleet that fell behind (a suspended machine) goes on from here; catching up would be a burst.
MAX_LAG_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Reporting:
    """One vehicle's manners. Seconds count from the start of the simulator, or from the change at runtime.

    never: configured, never says a word.
    silent_after_seconds, silent_until_seconds: says nothing from one to the other (None: for good).
    every_seconds: says everything it has in one breath, only this often, in place of its own rate.
    stopped_labels: (label, seconds) after which this one signal stays away while the others go on.
    late_seconds: keeps what it measures and delivers it in bursts, this often, with the old times.
    """

    never: bool = False
    silent_after_seconds: float | None = None
    silent_until_seconds: float | None = None
    every_seconds: float | None = None
    stopped_labels: tuple[tuple[str, float], ...] = ()
    late_seconds: float | None = None

    def is_silent(self, seconds: float) -> bool:
        if self.never:
            return True
        if self.silent_after_seconds is None or seconds < self.silent_after_seconds:
            return False
        return self.silent_until_seconds is None or seconds < self.silent_until_seconds

    def has_stopped(self, label: str, seconds: float) -> bool:
        return any(name == label and seconds >= after for name, after in self.stopped_labels)


CHATTY: Final = Reporting()


class Turn(NamedTuple):
    """It is this vehicle's turn: `due` in elapsed seconds, `number` counting its turns."""

    due: float
    vehicle: int
    number: int


class Timetable:
    """The turns of a fleet, evenly spread: each vehicle has its period and a phase of its own inside it.

    A period of zero or less means never. `due` returns turns in time order; after a lag of more than MAX_LAG_SECONDS
    the missed turns are left out and counted in `missed`.
    """

    def __init__(self, periods: Sequence[float], elapsed: float = 0.0) -> None:
        self._heap: list[Turn] = []
        self._periods: list[float] = []
        self.missed = 0
        self.restart(periods, elapsed)

    def restart(self, periods: Sequence[float], elapsed: float) -> None:
        """Give every vehicle a new period from now on; turn numbers go on where they were."""
        numbers = {turn.vehicle: turn.number for turn in self._heap}
        self._periods = list(periods)
        self._heap = [
            Turn(elapsed + (vehicle * _GOLDEN_RATIO) % 1.0 * period, vehicle, numbers.get(vehicle, 0))
            for vehicle, period in enumerate(self._periods)
            if period > 0
        ]
        heapq.heapify(self._heap)

    def due(self, elapsed: float) -> list[Turn]:
        """Every turn up to now."""
        heap, periods = self._heap, self._periods
        turns: list[Turn] = []
        while heap and heap[0].due <= elapsed:
            turn = heap[0]
            after = turn.due + periods[turn.vehicle]
            if after < elapsed - MAX_LAG_SECONDS:
                after = self._skip(after, periods[turn.vehicle], elapsed)
            heapq.heapreplace(heap, Turn(after, turn.vehicle, turn.number + 1))
            turns.append(turn)
        return turns

    def _skip(self, after: float, period: float, elapsed: float) -> float:
        """Leave whole periods out, so that the phase and with it the spread survive."""
        skipped = int((elapsed - after) / period)
        self.missed += skipped
        return after + skipped * period
