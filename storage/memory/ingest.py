"""The ingest unit on the twin: the same generator, all or nothing, with commits that can be lost on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.ports import CommitUnknown
from storage.faults import CommitInDoubt
from storage.memory.engine import CommitFate
from storage.memory.tables import UnitTables
from storage.memory.unit import UnitStatements
from storage.unit import ingest_unit, quarantine_unit

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from actors.ports import UnitPoisoned
    from domain.model import Receipt, SessionRef, Submission
    from storage.memory.engine import Engine
    from storage.unit_steps import Rows, Statement

    Unit = Generator[Statement, Rows, list[Receipt]]


class MemoryIngestStore:
    """actors.ports.IngestStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def commit_unit(self, session: SessionRef, unit: int, submissions: Sequence[Submission]) -> Sequence[Receipt]:
        return await self._commit(ingest_unit(session, unit, submissions), submissions)

    async def quarantine(self, session: SessionRef, unit: int, submission: Submission, error: UnitPoisoned) -> Receipt:
        (receipt,) = await self._commit(quarantine_unit(session, unit, submission, error), ())
        return receipt

    async def load_last_unit(self, session: SessionRef) -> int | None:
        async with self._engine.writing() as tables:
            stored = tables.sessions.get((session.shard_id,))
            return stored.last_unit if stored is not None and stored.epoch == session.epoch else None

    async def _commit(self, unit: Unit, tasted: Sequence[Submission]) -> list[Receipt]:
        async with self._engine.writing() as tables:
            overlay = UnitTables(tables)
            receipts = await self._drive(unit, UnitStatements(overlay, self._engine.now))
            self._engine.taste(tasted)
            fate = self._engine.decide_fate()
            if fate is not CommitFate.LOST_BEFORE:
                overlay.commit()
        if fate is not CommitFate.ANSWERED:
            doubt = CommitInDoubt(receipts)
            raise CommitUnknown(str(doubt), receipts) from doubt
        return receipts

    async def _drive(self, unit: Unit, statements: UnitStatements) -> list[Receipt]:
        try:
            statement = next(unit)
            while True:
                await self._engine.before(statement)
                statement = unit.send(statements.execute(statement))
        except StopIteration as end:
            receipts: list[Receipt] = end.value
            return receipts
        finally:
            unit.close()
