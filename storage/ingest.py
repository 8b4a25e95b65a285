"""The ingest unit on PostgreSQL: one bridge crossing and one transaction for each unit.

Owns the driving of a unit, and the error for a COMMIT whose result is unknown. What is written is
decided by storage/unit/dialogue.py.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ports.ingest import CommitUnknown, UnitPoisoned
from storage.faults import CLIENT_SIDE, CommitInDoubt
from storage.queries import sql
from storage.unit.copy_format import encode_rows
from storage.unit.dialogue import UnitNumber, ingest_unit, quarantine_unit
from storage.unit.locks import locked_rows
from storage.unit.packing import pack
from storage.unit.steps import Copy

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    from domain.deferral import Key
    from domain.model import Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from storage.gateway import Connection, Database
    from storage.unit.steps import Rows, Statement

T = TypeVar("T")


class PostgresIngestStore:
    """ports.ingest.IngestStore.

    Each writer has one unit in flight at a time, because each unit takes its writer's row. The
    gateway may do the work of a call again, and each time it drives a new unit.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def commit_unit(
        self,
        session: SessionRef,
        unit: int,
        submissions: Sequence[Submission],
        counts: RefusalCounts | None = None,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        async def work(connection: Connection) -> list[Receipt]:
            number = UnitNumber(writer, unit)
            return await drive(ingest_unit(session, number, submissions, counts), connection)

        with _commit_may_be_unknown():
            return await self._database.run(work)

    async def quarantine(
        self,
        session: SessionRef,
        unit: int,
        submission: Submission,
        error: UnitPoisoned,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        async def work(connection: Connection) -> list[Receipt]:
            number = UnitNumber(writer, unit)
            return await drive(quarantine_unit(session, number, submission, error), connection)

        with _commit_may_be_unknown():
            return await self._database.run(work)

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        async def work(connection: Connection) -> dict[Key, str]:
            return await drive(locked_rows(rows), connection)

        return await self._database.run(work)

    async def load_last_unit(self, session: SessionRef, writer: int = 0) -> int | None:
        async def work(connection: Connection) -> Any:
            return await connection.fetchval(sql("load_last_unit"), *session, writer)

        last_unit: int | None = await self._database.run(work, fresh=True)
        return last_unit


@contextmanager
def _commit_may_be_unknown() -> Iterator[None]:
    """Raise CommitUnknown, with the receipts judged before, when a COMMIT was not answered."""
    try:
        yield
    except CommitInDoubt as doubt:
        raise CommitUnknown(str(doubt), doubt.result) from doubt


async def drive(unit: Generator[Statement, Rows, T], connection: Connection) -> T:
    """Send a unit's statements to the connection and the rows back to the unit.

    Runs in asyncio, not trio.
    """
    try:
        statement = next(unit)
        while True:
            statement = unit.send(await send(statement, connection))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        unit.close()


async def send(statement: Statement, connection: Connection) -> Rows:
    """Send one statement of a unit, and return the rows that it returns. Runs in asyncio.

    Raises UnitPoisoned for a value that cannot be encoded for COPY; for SQL the driver has an error
    of its own.
    """
    if not isinstance(statement, Copy):
        return await connection.fetch(sql(statement.name), *pack(statement))
    names, columns = statement.args
    try:
        rows = encode_rows(names, columns)
    except (TypeError, AttributeError, ValueError, struct.error) as error:
        raise UnitPoisoned(CLIENT_SIDE, str(error)) from error
    # The driver takes bytes for the name of a file.
    source: Any = memoryview(rows)
    await connection.copy_to_table(statement.table, source=source, columns=names, format="binary")
    return ()
