"""Counts and marks of workspaces, each with the tick at which it last changed.

Owns the counts by state, which the fleet page shows, and the marks, which tell that something else
of a workspace is new: a cycle, or its configuration. Ticks are the board's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from api.pages.live_watch import Topic
from domain.health_state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from ports.live import LiveReads, Mark

# A page that was just opened may have been made a moment before.
JUST_NOW: Final = timedelta(seconds=30)
NO_DEVICES: Final[Mapping[State, int]] = dict.fromkeys(State, 0)


class Counted(NamedTuple):
    """The devices of one workspace by state, since `tick`."""

    tick: int
    counts: Mapping[State, int]


class CountNews:
    """The counts of workspaces. Of those that were never counted, nothing is known."""

    def __init__(self) -> None:
        self.changed = 0
        self._of: dict[str, Counted] = {}
        self._covered: frozenset[str] | None = frozenset()
        self._wanted: frozenset[str] | None = frozenset()

    def watch(self, wanted: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
        """Note which workspaces pages count, and return all of them; None: every one."""
        each = list(wanted)
        if None in each:
            self._wanted = None
        else:
            self._wanted = frozenset[str]().union(*(names for names in each if names is not None))
        return self._wanted

    def covers(self, wanted: frozenset[str] | None) -> bool:
        """Return whether these workspaces were counted at the newest tick."""
        return self._covered is None or (wanted is not None and wanted <= self._covered)

    def take(self, counts: Mapping[str, Mapping[State, int]], tick: int) -> None:
        """Take the counts of a tick. A workspace that is not among them has no devices now."""
        self._covered = self._wanted
        wanted = counts.keys() if self._wanted is None else self._wanted
        for name in wanted | self._of.keys():
            old, new = self._of.get(name), counts.get(name, NO_DEVICES)
            if old is None or old.counts != new:
                self._of[name] = Counted(tick, new)
                self.changed = tick
        if self._wanted is not None:
            for name in self._of.keys() - self._wanted:
                del self._of[name]

    def since(
        self, tick: int, wanted: frozenset[str] | None
    ) -> Iterator[tuple[str, Mapping[State, int]]]:
        """Yield the counts of these workspaces that changed after `tick`."""
        if self.changed > tick:
            for name, counted in self._of.items():
                if counted.tick > tick and (wanted is None or name in wanted):
                    yield name, counted.counts

    def total(self, wanted: frozenset[str] | None) -> Mapping[State, int]:
        """Return the counts of all of these workspaces together."""
        total = dict(NO_DEVICES)
        for name, counted in self._of.items():
            if wanted is None or name in wanted:
                for state, count in counted.counts.items():
                    total[state] += count
        return total


class _Marked(NamedTuple):
    mark: Mark
    ticks: Mapping[Topic, int]


class MarkNews:
    """The marks of workspaces. Only news after the first reading of a workspace have a tick."""

    def __init__(self, reads: LiveReads) -> None:
        self._reads = reads
        self._of: dict[str, _Marked] = {}
        self._covered: frozenset[str] = frozenset()

    def covers(self, wanted: frozenset[str]) -> bool:
        """Return whether the marks of these workspaces were read. What is none has no marks."""
        return wanted <= self._covered

    async def read(self, wanted: frozenset[str], tick: int) -> None:
        """Read the marks of these workspaces, and forget all others.

        Raises an EnvironmentFault while the database is away.
        """
        found = await self._reads.load_marks(wanted) if wanted else {}
        self._covered = wanted
        self._of = {name: _compare(self._of.get(name), mark, tick) for name, mark in found.items()}

    def changed(self, topic: Topic, wanted: frozenset[str], tick: int) -> bool:
        """Return whether there is news of the topic in one of these workspaces after `tick`."""
        return any(self._of[name].ticks[topic] > tick for name in wanted if name in self._of)

    def is_recent(self, wanted: frozenset[str], now: datetime) -> bool:
        """Return whether a cycle of one of these workspaces had news just now."""
        ats = (self._of[name].mark.cycles_at for name in wanted if name in self._of)
        return any(at is not None and now - at < JUST_NOW for at in ats)


def _compare(old: _Marked | None, mark: Mark, tick: int) -> _Marked:
    if old is None:
        return _Marked(mark, {Topic.CONFIGURATION: 0, Topic.CYCLES: 0})
    ticks = dict(old.ticks)
    if mark.configuration != old.mark.configuration:
        ticks[Topic.CONFIGURATION] = tick
    if mark.cycles != old.mark.cycles:
        ticks[Topic.CYCLES] = tick
    return _Marked(mark, ticks)
