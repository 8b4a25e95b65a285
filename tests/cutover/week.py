"""A week of a depot from a seed: what breaks when, and what guardrails ought to do about it.

Owns the expectation, which it takes from what was broken, never from what the service stored or
decided. Limits are those of the specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.cutover.depot import BUSES, INTERVAL, LIVE, SPARE, connection_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

SLOTS: Final = 7 * 86_400 // INTERVAL
HOUR: Final = 3600


class Slot(NamedTuple):
    """What is broken in one slot. `wrong` and `lost` are buses of the legacy system's answer."""

    answered: frozenset[str]
    legacy_answers: bool
    wrong: frozenset[str]
    lost: frozenset[str]
    lag_seconds: int
    parked: bool


class Episodes:
    """Spans of slots in which one thing is broken, with pauses between them."""

    def __init__(self, random: Random, *, mean_pause: float, longest: int) -> None:
        self._random = random
        self._mean_pause = mean_pause
        self._longest = longest
        self._left = 0
        self._until = int(random.expovariate(1 / mean_pause))

    def step(self) -> bool:
        """Return whether it is broken in the next slot."""
        if self._left == 0 and self._until == 0:
            self._left = self._random.randint(1, self._longest)
            self._until = 1 + int(self._random.expovariate(1 / self._mean_pause))
        if self._left:
            self._left -= 1
            return True
        self._until -= 1
        return False


def make_week(random: Random) -> list[Slot]:
    """Return the slots of a week."""
    live, spare = (Episodes(random, mean_pause=30, longest=8) for _ in range(2))
    away = Episodes(random, mean_pause=20, longest=10)
    wrong, lost = (Episodes(random, mean_pause=50, longest=6) for _ in range(2))
    lag = Episodes(random, mean_pause=50, longest=6)
    parked = Episodes(random, mean_pause=90, longest=30)
    slots = []
    for _ in range(SLOTS):
        broken = [name for name, one in ((LIVE, live), (SPARE, spare)) if one.step()]
        slots.append(
            Slot(
                frozenset({LIVE, SPARE} - set(broken)),
                not away.step(),
                frozenset(random.sample(BUSES, random.randint(1, 3)) if wrong.step() else ()),
                frozenset(random.sample(BUSES, random.randint(1, 3)) if lost.step() else ()),
                random.choice((30, 300, 800)) if lag.step() else 0,
                parked.step(),
            )
        )
    return slots


class Act(NamedTuple):
    """What guardrails ought to do after a slot."""

    slot: int
    kind: str
    guardrails: tuple[str, ...]


@dataclass
class Expectation:
    """What ought to happen, slot by slot. `reads_core` and `acts` are its outcome so far."""

    reads_core: bool = True
    acts: list[Act] = field(default_factory=list)
    _completed: list[float] = field(default_factory=list)  # of each slot since the return
    _mismatches: list[float] = field(default_factory=list)  # likewise, of comparable slots
    _compared: list[int] = field(default_factory=list)  # and in which slots
    _rolled_back: float = -math.inf
    _told: dict[tuple[tuple[str, ...], str], float] = field(default_factory=dict)

    def return_to_core(self) -> None:
        """A person lets core be read again: what was before says nothing any more."""
        self.reads_core = True
        for history in (self._completed, self._mismatches, self._compared):
            history.clear()

    def after(self, number: int, slot: Slot, at: float, heard: Mapping[str, float]) -> None:
        """Note a slot that ended at this second. `heard` is when each bus was heard here."""
        if not self.reads_core:
            return
        self._completed.append(len(slot.answered) / 2)
        if slot.legacy_answers:
            mismatched = sum(self._mismatches_now(bus, slot, at, heard) for bus in BUSES)
            self._mismatches.append(mismatched / len(BUSES))
            self._compared.append(number)
        crossed = tuple(self._find_crossed(number, slot, at, heard))
        if crossed:
            self._act(number, crossed, at, legacy_answers=slot.legacy_answers)

    def _mismatches_now(self, bus: str, slot: Slot, at: float, heard: Mapping[str, float]) -> bool:
        if bus in slot.lost:
            return True
        there = at if self._reports_there(slot) else heard[bus]
        there -= slot.lag_seconds
        if there - heard[bus] > INTERVAL + 60:
            return True
        return bus in slot.wrong and abs(there - heard[bus]) <= 1

    @staticmethod
    def _reports_there(slot: Slot) -> bool:
        """The legacy system hears every bus that drives, also while our providers are away."""
        return not slot.parked

    def _find_crossed(
        self, number: int, slot: Slot, at: float, heard: Mapping[str, float]
    ) -> list[str]:
        crossed = []
        newest = self._completed[-12:]
        if len(newest) == 12 and sum(newest) < 10:
            crossed.append("cycles")
        if slot.legacy_answers and not self._has_failed_once() and self._is_old(slot, at, heard):
            crossed.append("freshness")
        lasting = [
            share
            for share, compared in zip(self._mismatches, self._compared, strict=True)
            if compared > number - 6
        ][-3:]
        if len(lasting) == 3 and min(lasting) > 0.05:
            crossed.append("parity")
        return crossed

    def _has_failed_once(self) -> bool:
        newest = self._completed[-1]
        former = self._completed[-2] if len(self._completed) > 1 else 1.0
        return newest < 1 and former == 1

    def _is_old(self, slot: Slot, at: float, heard: Mapping[str, float]) -> bool:
        here, there = [], []
        for bus in BUSES:
            if bus not in slot.lost:
                here.append(at - heard[bus])
                known = at if self._reports_there(slot) else heard[bus]
                there.append(at - known + slot.lag_seconds)
        place = math.ceil(0.95 * len(here)) - 1
        old_here, old_there = sorted(here)[place], sorted(there)[place]
        return old_here > 600 and old_here > old_there + 300

    def _act(
        self, number: int, crossed: tuple[str, ...], at: float, *, legacy_answers: bool
    ) -> None:
        why = "" if legacy_answers else "no answer"
        if legacy_answers and at - self._rolled_back <= HOUR:
            why = "too soon"
        if not why:
            self.acts.append(Act(number, "rollback", crossed))
            self._rolled_back, self.reads_core = at, False
        elif at - self._told.get((crossed, why), -math.inf) >= HOUR:
            self.acts.append(Act(number, "alert", crossed))
            self._told[crossed, why] = at


def reporting(slot: Slot) -> list[str]:
    """Return the buses that are heard here in this slot."""
    return [bus for bus in BUSES if connection_of(bus) in slot.answered and not slot.parked]
