"""Refusals by key, and the counts of them that are not written yet.

Owns which counts a unit writes at once and which wait. The first refusal of a key in an hour is
written at once; later ones are counted here and written at most once a minute for each key, so a
signal that is refused with every update costs few rows and few writes.

It reads no clock and writes nothing. A unit plans with `plan`, which changes no count. The counts
move with `confirm`, which is called once the unit is known to be committed. So a unit that is tried
again, fenced or cut into pieces neither loses a count nor writes it twice.

Several writers may plan at once (`RefusalCounts(beside=…)`). The keys of a plan are taken until its
unit has ended: another writer only adds to what waits under them.
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
    waited: Mapping[RefusalKey, int]  # occurrences in `rows` that wait until now


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


class _Book:
    """What all writers of a process share: the keys, the totals, and the plans in flight."""

    def __init__(self, max_keys: int) -> None:
        self.max_keys = max_keys
        # The key whose row was written first comes first.
        self.entries: dict[RefusalKey, _RecentKey] = {}
        self.plans: dict[RefusalCounts, RefusalPlan] = {}  # of units in flight
        self.waiting = self.written = self.lost = 0
        self.has_more_due = False  # the last unit left counts that are due

    def is_taken(self, key: RefusalKey, asking: RefusalCounts) -> bool:
        """Return whether the plan of another writer has this key."""
        return any(
            key in plan.rows or key in plan.kept
            for writer, plan in self.plans.items()
            if writer is not asking
        )


class RefusalCounts:
    """The keys whose row was written within the last minute, and the counts that wait.

    It holds about `max_keys` keys. When it is full, refusals of further keys are written with
    their own unit, each time. One unit at a time plans here and is confirmed; each writer has a
    `RefusalCounts` of its own.
    """

    def __init__(self, max_keys: int = MAX_KEYS, *, beside: RefusalCounts | None = None) -> None:
        """`beside`: count into the keys of this other writer."""
        self._book: _Book = _Book(max_keys) if beside is None else beside._book
        self._written: Set[RefusalKey] | None = None  # by the unit in flight
        self._first_traces: set[str] = set()  # of keys that were not held when they were written
        self.writes_due = True  # False: a unit writes its own refusals and no others
        self.writes_all = False  # True: counts that wait are due at once

    # --- what a unit asks

    def can_wait(self, key: RefusalKey, now: datetime) -> bool:
        """Return whether a refusal of this key may be written later.

        Never for `fenced`: it proves who owned a workspace, and comes only when owners change. But
        a key that another writer's plan has taken must wait.
        """
        entry = self._book.entries.get(key)
        if entry is None:
            return False
        can_wait = key.reason != Reason.FENCED and not self._is_due(entry, now)
        return can_wait or self._book.is_taken(key, self)

    def plan(self, counted: Mapping[RefusalKey, RefusalCount], now: datetime) -> RefusalPlan:
        """Return what a unit writes that has counted these refusals. Changes no count.

        The rows are the unit's own and, with them, counts that have waited for a minute. Their keys
        are taken until `confirm` or `unstage`.
        """
        kept = {key: count for key, count in counted.items() if self.can_wait(key, now)}
        rows = {} if not self.writes_due else self._find_due(now)
        waited = {key: count.occurrences for key, count in rows.items()}
        for key, count in counted.items():
            if key not in kept:
                entry = self._book.entries.get(key)
                waiting = entry.waiting if entry is not None else None
                rows[key] = count if waiting is None else _sum(waiting, count)
                waited[key] = 0 if waiting is None else waiting.occurrences
        plan = self._book.plans[self] = RefusalPlan(now, rows, kept, waited)
        self._written = None
        return plan

    def _find_due(self, now: datetime) -> dict[RefusalKey, RefusalCount]:
        """Return the counts that have waited longest and are due, at most MAX_DUE."""
        due: dict[RefusalKey, RefusalCount] = {}
        for key, entry in self._book.entries.items():
            if not self._is_due(entry, now) or len(due) == MAX_DUE:
                break
            if entry.waiting is not None and not self._book.is_taken(key, self):
                due[key] = entry.waiting
        return due

    def _is_due(self, entry: _RecentKey, now: datetime) -> bool:
        return self.writes_all or entry.written_at + WRITE_INTERVAL <= now

    # --- what the commit changes

    def stage(self, plan: RefusalPlan, written: Set[RefusalKey]) -> None:
        """Hold a plan until its unit is known to be committed. Replaces the one before.

        `written` are the keys whose row was written; another transaction holds the other rows.
        """
        self._book.plans[self], self._written = plan, written

    def unstage(self) -> None:
        """Forget the plan of a unit that was not committed."""
        self._book.plans.pop(self, None)
        self._written = None

    def confirm(self) -> None:
        """Apply the staged plan, because its unit was committed. Without one, change nothing."""
        plan, written = self._book.plans.pop(self, None), self._written
        self._written = None
        if plan is None or written is None:
            return
        for key, count in plan.rows.items():
            self._confirm_row(key, count, plan, is_written=key in written)
        for key, count in plan.kept.items():
            # The entry may be gone by now: dropped because there were too many, or given up.
            self._keep(self._book.entries.setdefault(key, _RecentKey(plan.at)), count)
        self._book.has_more_due = self._forget_idle(plan.at)

    def _confirm_row(
        self, key: RefusalKey, count: RefusalCount, plan: RefusalPlan, *, is_written: bool
    ) -> None:
        book = self._book
        entry = book.entries.pop(key, None)
        added = 0  # by another writer since the plan
        if entry is not None and entry.waiting is not None:
            added = entry.waiting.occurrences - plan.waited[key]
            book.waiting -= plan.waited[key]
        book.written += is_written
        if entry is None and is_written:
            self._first_traces.add(count.trace_id)
        if len(book.entries) >= book.max_keys and not added:
            book.lost += 0 if is_written else count.occurrences
            return
        renewed = book.entries[key] = _RecentKey(plan.at)
        if entry is not None and entry.waiting is not None and added:
            renewed.waiting = replace(entry.waiting, occurrences=added)
        if not is_written:
            self._keep(renewed, replace(count, sample=None))

    def _keep(self, entry: _RecentKey, count: RefusalCount) -> None:
        entry.waiting = count if entry.waiting is None else _sum(entry.waiting, count)
        self._book.waiting += count.occurrences

    def _forget_idle(self, now: datetime) -> bool:
        """Remove the keys at the front that were written a minute ago and have nothing waiting.

        Returns whether it met a key that is due.
        """
        idle = []
        has_more_due = False
        for key, entry in self._book.entries.items():
            if entry.waiting is not None or entry.written_at + WRITE_INTERVAL > now:
                has_more_due = entry.waiting is not None and self._is_due(entry, now)
                break
            if not self._book.is_taken(key, self):
                idle.append(key)
        for key in idle:
            del self._book.entries[key]
        return has_more_due

    def take_first_traces(self) -> Set[str]:
        """Return the traces that brought a key's first refusal for a minute or longer.

        Each is returned once. There is at most one for each row that was written.
        """
        taken, self._first_traces = self._first_traces, set()
        return taken

    def give_up_waiting(self) -> int:
        """Forget everything that waits, and return how many occurrences that were."""
        given_up, self._book.waiting = self._book.waiting, 0
        self._book.lost += given_up
        self._book.entries.clear()
        return given_up

    # --- what it knows of itself

    @property
    def waiting(self) -> int:
        """Return how many occurrences are counted and not yet written."""
        return self._book.waiting

    @property
    def has_more_due(self) -> bool:
        """Return whether the last unit of any writer left counts that are due."""
        return self._book.has_more_due

    def statistics(self) -> RefusalStatistics:
        """Return the statistics of all writers that count into the same keys."""
        book = self._book
        return RefusalStatistics(
            keys=len(book.entries), waiting=book.waiting, written=book.written, lost=book.lost
        )


def _sum(earlier: RefusalCount, later: RefusalCount) -> RefusalCount:
    return earlier.plus(later.occurrences, later.last_at)
