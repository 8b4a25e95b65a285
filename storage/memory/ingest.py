"""The ingest unit on the twin: the same generator, all or nothing.

Tests can have its commit lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ports.ingest import CommitUnknown
from storage.faults import CommitInDoubt
from storage.memory.engine import CommitFate
from storage.memory.tables import UnitTables
from storage.memory.unit import UnitStatements
from storage.unit.dialogue import UnitNumber, ingest_unit, quarantine_unit
from storage.unit.locks import locked_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence

    from domain.deferral import Key
    from domain.model import Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from ports.ingest import UnitPoisoned
    from storage.memory.engine import Engine
    from storage.unit.steps import Rows, Statement

    Unit = Generator[Statement, Rows, list[Receipt]]

T = TypeVar("T")


class MemoryIngestStore:
    """ports.ingest.IngestStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def commit_unit(
        self,
        session: SessionRef,
        unit: int,
        submissions: Sequence[Submission],
        counts: RefusalCounts | None = None,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        number = UnitNumber(writer, unit)
        return await self._commit(
            session, ingest_unit(session, number, submissions, counts), submissions
        )

    async def quarantine(
        self,
        session: SessionRef,
        unit: int,
        submission: Submission,
        error: UnitPoisoned,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        number = UnitNumber(writer, unit)
        return await self._commit(session, quarantine_unit(session, number, submission, error), ())

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        """Return the rows that are held.

        Takes no turn among the writers, so it waits for nobody.
        """
        await self._engine.arrive()
        return await self._drive(
            locked_rows(rows), self._statements(UnitTables(self._engine.tables))
        )

    async def load_last_unit(self, session: SessionRef, writer: int = 0) -> int | None:
        """Return the number. A unit of another writer that is in flight does not delay it."""
        async with self._engine.writing(session) as tables:
            stored = tables.session_writers.get((session.shard_id, writer))
            return stored.last_unit if stored and stored.epoch == session.epoch else None

    async def _commit(
        self, session: SessionRef, unit: Unit, tasted: Sequence[Submission]
    ) -> list[Receipt]:
        async with self._engine.writing(session) as tables:
            overlay = UnitTables(tables)
            receipts = await self._drive(unit, self._statements(overlay))
            self._engine.taste(tasted)
            fate = self._engine.decide_fate()
            if fate is not CommitFate.LOST_BEFORE:
                overlay.commit()
        if fate is not CommitFate.ANSWERED:
            doubt = CommitInDoubt(receipts)
            raise CommitUnknown(str(doubt), receipts) from doubt
        return receipts

    def _statements(self, tables: UnitTables) -> UnitStatements:
        return UnitStatements(tables, self._engine.now, self._engine.locks)

    async def _drive(self, unit: Generator[Statement, Rows, T], statements: UnitStatements) -> T:
        try:
            statement = next(unit)
            while True:
                await self._engine.before(statement)
                statement = unit.send(statements.execute(statement))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            unit.close()
