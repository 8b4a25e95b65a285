"""The base of every store of the twin: tables, clock, one writer at a time, trouble on demand.

Owns when a call may go on and when it fails. A call yields to trio before it looks at anything, as
a call over the bridge does. From then on a read is synchronous, and so sees one consistent state.
Writers take turns, which is one of the orders that PostgreSQL's row locks allow. Units of one
session may write side by side: the caller gives them different rows, and the overlay checks it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ports.ingest import UnitPoisoned
from storage.faults import DatabaseAway
from storage.memory.locks import RowLocks
from storage.memory.tables import Tables
from storage.memory.turn import WritersTurn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from domain.model import CanonicalUpdate, SessionRef, Submission
    from storage.unit.steps import Statement

    Hook = Callable[[Statement], Awaitable[None]]

LOCK_SECONDS: Final = 2.0  # as lock_timeout of the gateway


class WallClock(Protocol):
    def wall(self) -> datetime: ...


class CommitFate(Enum):
    """How a commit ends."""

    ANSWERED = "answered"
    LOST_BEFORE = "lost_before"  # nothing was written, and the caller is not told
    LOST_AFTER = "lost_after"  # all was written, and the caller is not told


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """Calls and commits of one twin, in all, and its trouble now."""

    calls: int
    refused: int  # while it was away
    units: int  # committed, and the caller was told
    poisoned: int
    commits_lost: int  # the caller was not told
    is_away: bool
    is_writing: bool  # a transaction is open


class Engine:
    """The tables, the clock and the trouble that the stores of one twin share."""

    def __init__(self, clock: WallClock, days_ahead: int | None) -> None:
        self.tables = Tables()
        self.locks = RowLocks()
        self._clock = clock
        self._days_ahead = days_ahead
        self._turn = WritersTurn()
        self._away_for: float = 0  # calls still to refuse; infinite until `come_back`
        self._fate = CommitFate.ANSWERED
        self._poison: tuple[Callable[[CanonicalUpdate], bool], str] | None = None
        self.before_statement: Hook | None = None
        self.listeners: list[Callable[[str], None]] = []
        self._counts = dict.fromkeys(("calls", "refused", "units", "poisoned", "commits_lost"), 0)

    def now(self) -> datetime:
        """Return database time."""
        return self._clock.wall()

    async def arrive(self) -> None:
        """Begin a call: let other tasks run first.

        Raises DatabaseAway if the twin was told to be away.
        """
        await trio.lowlevel.checkpoint()
        self._counts["calls"] += 1
        if self._away_for > 0:
            self._away_for -= 1
            self._counts["refused"] += 1
            raise DatabaseAway("the twin was told to be away", retry_after=0.2)
        if self._days_ahead is not None:
            today = self.now().date()
            self.tables.partitions |= {
                today + timedelta(days=day) for day in range(self._days_ahead + 1)
            }
            self._days_ahead = None

    @asynccontextmanager
    async def writing(self, session: SessionRef | None = None) -> AsyncIterator[Tables]:
        """Begin a call and hold the writers' turn for the block: with `session`, beside its units.

        Raises DatabaseAway, also if a paused unit keeps the turn.
        """
        await self.arrive()
        with trio.move_on_after(LOCK_SECONDS) as waiting:
            await self._turn.acquire(session)
        if waiting.cancelled_caught:
            raise DatabaseAway("55P03: another writer keeps its lock", retry_after=0.1)
        try:
            yield self.tables
        finally:
            self._turn.release()

    def notify(self, notice: str) -> None:
        """Call every listener with the notice.

        The caller holds the writers' turn, and nothing can fail any more.
        """
        for listener in self.listeners:
            listener(notice)

    async def before(self, statement: Statement) -> None:
        """Prepare a unit's statement: run other tasks, the test's hook and the wait for row locks.

        The hook may pause or fail the unit. Raises LockTimeout if the statement needs a row that is
        held.
        """
        await trio.lowlevel.checkpoint()
        if self.before_statement is not None:
            await self.before_statement(statement)
        await self.locks.wait_for(statement)

    def taste(self, submissions: Sequence[Submission]) -> None:
        """Raise UnitPoisoned if a test declared one of the updates to be poison."""
        if self._poison is None:
            return
        is_poison, sqlstate = self._poison
        if any(is_poison(update) for submission in submissions for update in submission.updates):
            self._counts["poisoned"] += 1
            raise UnitPoisoned(sqlstate, "declared to be poison by the test")

    def decide_fate(self) -> CommitFate:
        """Return how the commit that is due ends. An order to lose a commit holds once."""
        fate, self._fate = self._fate, CommitFate.ANSWERED
        self._counts["commits_lost" if fate is not CommitFate.ANSWERED else "units"] += 1
        return fate

    # --- Trouble

    def go_away(self, calls: float) -> None:
        self._away_for = calls

    def lose_commit(self, *, after: bool) -> None:
        self._fate = CommitFate.LOST_AFTER if after else CommitFate.LOST_BEFORE

    def poison(self, is_poison: Callable[[CanonicalUpdate], bool] | None, sqlstate: str) -> None:
        self._poison = None if is_poison is None else (is_poison, sqlstate)

    def statistics(self) -> EngineStatistics:
        return EngineStatistics(
            **self._counts, is_away=self._away_for > 0, is_writing=self._turn.is_taken
        )
