"""The times at which vehicles report.

Owns `Reporting` (how one vehicle behaves) and `Timetable` (the turns of a whole fleet in one heap,
so that ten thousand vehicles cost one task). Pure: elapsed seconds come in from outside.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from simulator.quirks import BUFFERED_RECORDS, SENDS_NOTHING, Quirk, stated_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Successive multiples modulo 1 fill the unit interval almost evenly, whatever the number of
# vehicles.
_GOLDEN_RATIO: Final = 0.618033988749895
# Turns that are further behind (a suspended machine) are left out; catching up would be a burst.
MAX_LAG_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Reporting:
    """How one vehicle reports.

    Seconds count from the start of the simulator, or from a change at runtime.

    never: the vehicle is configured and never reports.
    silent_after_seconds, silent_until_seconds: it is silent from one to the other (None: for good).
    every_seconds: it sends all its labels at once, this often, instead of at its own rate.
    stopped_labels: (label, seconds) after which this signal is missing while the others go on.
    late_seconds: it keeps its readings and delivers them in bursts, this often, with the old times.
    quirk: what is wrong with its records, from quirk_after_seconds on. quirk_seconds is the quirk's
    own number: how far a clock is off, how old a record is.
    """

    never: bool = False
    silent_after_seconds: float | None = None
    silent_until_seconds: float | None = None
    every_seconds: float | None = None
    stopped_labels: tuple[tuple[str, float], ...] = ()
    late_seconds: float | None = None
    quirk: Quirk | None = None
    quirk_after_seconds: float = 0.0
    quirk_seconds: float = 0.0

    def is_silent(self, seconds: float) -> bool:
        if self.never or (self.quirk in SENDS_NOTHING and self.has_begun(seconds)):
            return True
        if self.silent_after_seconds is None or seconds < self.silent_after_seconds:
            return False
        return self.silent_until_seconds is None or seconds < self.silent_until_seconds

    def has_begun(self, seconds: float) -> bool:
        """Return whether the quirk has begun."""
        return seconds >= self.quirk_after_seconds

    def reports(self, turn: Turn, seconds: float, *, is_first: bool) -> Iterator[Turn]:
        """Yield the reports of one turn, at the times that the vehicle states.

        `seconds` since this manner began; `is_first` is the first turn since then.
        """
        if self.quirk is Quirk.FIRST_RECORD_OLD and not is_first:
            return
        if self.quirk is Quirk.EMPTIES_BUFFER and is_first:
            for number in range(BUFFERED_RECORDS):
                yield turn._replace(due=turn.due - self.quirk_seconds + number)
        if self.quirk is None:
            yield turn
        else:
            begun = seconds - self.quirk_after_seconds
            due = stated_instant(self.quirk, turn.due, begun, self.quirk_seconds)
            yield turn._replace(due=due)

    def has_stopped(self, label: str, seconds: float) -> bool:
        return any(name == label and seconds >= after for name, after in self.stopped_labels)


CHATTY: Final = Reporting()


class Turn(NamedTuple):
    """One vehicle's turn to report: `due` in elapsed seconds, `number` counts its turns."""

    due: float
    vehicle: int
    number: int


class Timetable:
    """The turns of a fleet, evenly spread: each vehicle has a period, and a phase of its own in it.

    A period of zero or less means never. `due` returns turns in time order; after a lag of more
    than MAX_LAG_SECONDS the missed turns are left out and counted in `missed`.
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
            Turn(
                elapsed + (vehicle * _GOLDEN_RATIO) % 1.0 * period, vehicle, numbers.get(vehicle, 0)
            )
            for vehicle, period in enumerate(self._periods)
            if period > 0
        ]
        heapq.heapify(self._heap)

    def due(self, elapsed: float) -> list[Turn]:
        """Return every turn that fell due by `elapsed`, in time order."""
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
        """Leave out whole periods, so that the vehicle keeps its phase and turns stay spread."""
        skipped = int((elapsed - after) / period)
        self.missed += skipped
        return after + skipped * period
