"""Committing: one unit of work is one transaction, and the way into the mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from domain.deferral import Key
    from domain.model import (
        Receipt,
        SessionRef,
        Submission,
    )
    from domain.refusals import RefusalCounts

# Units of one session that are in flight together, each of a writer with a row and a connection of
# its own. Chosen by measurement (docs/decisions/0056).
WRITERS: Final = 3
# The rows exist from the session's begin on, more than are used: another release may use them.
MAX_WRITERS: Final = 4


class SessionFenced(Exception):
    """This session's row is no longer live: another epoch took over.

    Nothing of the unit was written.
    """


class CommitUnknown(EnvironmentFault):
    """The connection was lost while the commit was under way.

    The caller asks `load_last_unit`, then replays the unit or believes the receipts. `receipts` are
    the results already judged. They are true if the unit turns out to be the last one committed.
    """

    def __init__(self, message: str, receipts: Sequence[Receipt]) -> None:
        super().__init__(message)
        self.receipts = receipts


class RowsLocked(EnvironmentFault):
    """A lock that the unit needs was not given in time. Nothing of the unit was written.

    The lock is on a row, on a table, or on a row of the session itself. `find_locked` tells which
    rows it was.
    """


class UnitPoisoned(Exception):
    """PostgreSQL refused the data itself (a named SQLSTATE or one of our constraints).

    Nothing was written. The caller bisects.
    """

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


class IngestStore(Protocol):
    """The write side: one unit of work is one transaction."""

    async def commit_unit(
        self,
        session: SessionRef,
        unit: int,
        submissions: Sequence[Submission],
        counts: RefusalCounts | None = None,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        """Commit everything or nothing; return one receipt per submission, in order.

        Units of different writers may be in flight together. Their workspaces must not overlap: the
        caller sees to it. A unit that meets rows of another waits
        for them, and may be refused with RowsLocked.

        `counts` has the refusals that earlier units counted and did not write. Those that are due
        are written with this unit. What it leaves is staged there: the caller confirms it once the
        commit is certain. Without `counts` every refusal is written with its unit.

        Raises SessionFenced, CommitUnknown, UnitPoisoned, RowsLocked, or another EnvironmentFault
        (retry with the same unit number). A deadlock or serialization failure has already been
        retried inside.
        """

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        """Return which of these rows others have locked; row -> the transaction that holds it.

        The rows keep the names they were asked by. Waits for no row. Raises EnvironmentFault for a
        locked table.
        """

    async def load_last_unit(self, session: SessionRef, writer: int = 0) -> int | None:
        """Return the number of the last unit that this writer committed, the session live or not.

        None when another session of this shard has begun since. Read on a fresh connection `FOR
        UPDATE`.
        """

    async def quarantine(
        self,
        session: SessionRef,
        unit: int,
        submission: Submission,
        error: UnitPoisoned,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        """Write this submission's updates to quarantine instead; return its receipt, alone.

        The fence and the unit number are those of the unit. Raises as `commit_unit`.
        """


class Ingest(Protocol):
    """The HTTP side's way into the mailbox (actors.ingest fulfils it)."""

    def submit_nowait(self, submission: Submission) -> None:
        """Raises runtime.mailbox.LaneFull or MailboxClosed."""
