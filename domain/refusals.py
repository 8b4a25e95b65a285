"""Refusals by key, and the counts of them that are not written yet.

Owns which counts a unit writes at once and which wait. The first refusal of a key in an hour is
written at once; later ones are counted here and written at most once a minute for each key, so a
signal that is refused with every update costs few rows and few writes.

It reads no clock and writes nothing. A unit plans with `plan`, which changes no count. The counts
move with `confirm`, which is called once the unit is known to be committed. So a unit that is tried
again, fenced or cut into pieces neither loses a count nor writes it twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.model import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Set
    from datetime import datetime

# Refusals that are answers without news: they are counted and never held against the device.
REASONS_WITHOUT_NEWS: Final = frozenset({Reason.OUTSIDE_ASSIGNMENT, Reason.NOT_AVAILABLE})
# Signals that are not in the catalogue are counted as one: a client may invent any number of them.
UNKNOWN_SIGNAL: Final = "unknown"
WRITE_SECONDS: Final = 60.0
MAX_KEYS: Final = 50_000  # about 30 MB
WRITE_INTERVAL: Final = timedelta(seconds=WRITE_SECONDS)
MAX_DUE: Final = 500  # waiting counts that one unit writes beside its own refusals


class RefusalKey(NamedTuple):
    """What refusals are counted by.

    With a signal, readings are counted; without one, updates and records.
    """

    workspace_id: str
    hour: datetime  # its first moment, in database time
    origin: str
    provider_id: str | None
    device_id: str | None
    external_id: str | None
    outcome: str
    reason: str | None
    signal: str | None


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """Refusals of one key: how many, when the last one was, and the facts of the first."""

    occurrences: int
    last_at: datetime
    trace_id: str
    detail: str | None
    sample: bytes | None

    def plus(self, occurrences: int, last_at: datetime) -> RefusalCount:
        """Return this count with later refusals in it."""
        return RefusalCount(
            self.occurrences + occurrences,
            max(self.last_at, last_at),
            self.trace_id,
            self.detail,
            self.sample,
        )


class RefusalPlan(NamedTuple):
    """What one unit does with its refusals. `at` is the time of the unit."""

    at: datetime
    rows: Mapping[RefusalKey, RefusalCount]  # to be written
    kept: Mapping[RefusalKey, RefusalCount]  # to be added to what waits


@dataclass(frozen=True, slots=True)
class RefusalStatistics:
    """The refusals that this process counted."""

    keys: int  # now; keys that were written within the last minute, or have counts that wait
    waiting: int  # now; occurrences that are counted and not yet written
    written: int  # rows written or counted up
    lost: int  # occurrences that could not be written or kept


@dataclass(slots=True)
class _RecentKey:
    """One key: when its row was last written, and what was counted since."""

    written_at: datetime
    waiting: RefusalCount | None = None


class RefusalCounts:
    """The keys whose row was written within the last minute, and the counts that wait.

    It holds at most `max_keys` keys. When it is full, refusals of further keys are written with
    their own unit, each time. One unit at a time plans and is confirmed.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        # The key whose row was written first comes first.
        self._entries: dict[RefusalKey, _RecentKey] = {}
        self._staged: tuple[RefusalPlan, Set[RefusalKey]] | None = None
        self._first_traces: set[str] = set()  # of keys that were not held when they were written
        self._waiting = self._written = self._lost = 0
        self.has_more_due = False  # the last unit left counts that are due
        self.writes_due = True  # False: a unit writes its own refusals and no others
        self.writes_all = False  # True: counts that wait are due at once

    # --- what a unit asks

    def can_wait(self, key: RefusalKey, now: datetime) -> bool:
        """Return whether a refusal of this key may be written later.

        Never for `fenced`: it proves who owned a workspace, and comes only when owners change.
        """
        entry = self._entries.get(key)
        return entry is not None and key.reason != Reason.FENCED and not self._is_due(entry, now)

    def plan(self, counted: Mapping[RefusalKey, RefusalCount], now: datetime) -> RefusalPlan:
        """Return what a unit writes that has counted these refusals. Changes nothing.

        The rows are the unit's own and, with them, counts that have waited for a minute.
        """
        kept = {key: count for key, count in counted.items() if self.can_wait(key, now)}
        rows = {} if not self.writes_due else self._find_due(now)
        for key, count in counted.items():
            if key not in kept:
                entry = self._entries.get(key)
                waiting = entry.waiting if entry is not None else None
                rows[key] = count if waiting is None else _sum(waiting, count)
        return RefusalPlan(now, rows, kept)

    def _find_due(self, now: datetime) -> dict[RefusalKey, RefusalCount]:
        """Return the counts that have waited longest and are due, at most MAX_DUE."""
        due: dict[RefusalKey, RefusalCount] = {}
        for key, entry in self._entries.items():
            if not self._is_due(entry, now) or len(due) == MAX_DUE:
                break
            if entry.waiting is not None:
                due[key] = entry.waiting
        return due

    def _is_due(self, entry: _RecentKey, now: datetime) -> bool:
        return self.writes_all or entry.written_at + WRITE_INTERVAL <= now

    # --- what the commit changes

    def stage(self, plan: RefusalPlan, written: Set[RefusalKey]) -> None:
        """Hold a plan until its unit is known to be committed. Replaces the one before.

        `written` are the keys whose row was written; another transaction holds the other rows.
        """
        self._staged = (plan, written)

    def unstage(self) -> None:
        """Forget the plan of a unit that was not committed."""
        self._staged = None

    def confirm(self) -> None:
        """Apply the staged plan, because its unit was committed. Without one, change nothing."""
        staged, self._staged = self._staged, None
        if staged is None:
            return
        plan, written = staged
        for key, count in plan.rows.items():
            self._confirm_row(key, count, plan.at, is_written=key in written)
        for key, count in plan.kept.items():
            self._keep(self._entries[key], count)
        self.has_more_due = self._forget_idle(plan.at)

    def _confirm_row(
        self, key: RefusalKey, count: RefusalCount, at: datetime, *, is_written: bool
    ) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None and entry.waiting is not None:
            self._waiting -= entry.waiting.occurrences
        self._written += is_written
        if entry is None and is_written:
            self._first_traces.add(count.trace_id)
        if len(self._entries) >= self._max_keys:
            self._lost += 0 if is_written else count.occurrences
            return
        entry = self._entries[key] = _RecentKey(at)
        if not is_written:
            self._keep(entry, replace(count, sample=None))

    def _keep(self, entry: _RecentKey, count: RefusalCount) -> None:
        entry.waiting = count if entry.waiting is None else _sum(entry.waiting, count)
        self._waiting += count.occurrences

    def _forget_idle(self, now: datetime) -> bool:
        """Remove the keys at the front that were written a minute ago and have nothing waiting.

        Returns whether it met a key that is due.
        """
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.waiting is not None or entry.written_at + WRITE_INTERVAL > now:
                return entry.waiting is not None and self._is_due(entry, now)
            del self._entries[key]
        return False

    def take_first_traces(self) -> Set[str]:
        """Return the traces that brought a key's first refusal for a minute or longer.

        Each is returned once. There is at most one for each row that was written.
        """
        taken, self._first_traces = self._first_traces, set()
        return taken

    def give_up_waiting(self) -> int:
        """Forget everything that waits, and return how many occurrences that were."""
        given_up, self._waiting = self._waiting, 0
        self._lost += given_up
        self._entries.clear()
        return given_up

    # --- what it knows of itself

    @property
    def waiting(self) -> int:
        """Return how many occurrences are counted and not yet written."""
        return self._waiting

    def statistics(self) -> RefusalStatistics:
        return RefusalStatistics(
            keys=len(self._entries), waiting=self._waiting, written=self._written, lost=self._lost
        )


def _sum(earlier: RefusalCount, later: RefusalCount) -> RefusalCount:
    return earlier.plus(later.occurrences, later.last_at)
