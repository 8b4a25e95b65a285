"""Quarantine in PostgreSQL: its entries, their whole updates, and the marks of replays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.changes import replay_change
from ports.quarantine import QuarantinedUpdate, QuarantineEntry
from storage.changes import record_changes
from storage.queries import bound, sql
from storage.unit.ledger import storable
from storage.whole_updates import read_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.changes import Author
    from domain.model import Result
    from storage.gateway import Connection, Database
    from storage.rows import Row


class PostgresQuarantine:
    """ports.quarantine.Quarantine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_quarantine(
        self, workspace_id: str, *, before: int | None, limit: int
    ) -> Sequence[QuarantineEntry]:
        async def work(connection: Connection) -> Sequence[Row]:
            return await connection.fetch(sql("list_quarantine"), workspace_id, before, limit)

        rows = await self._database.run(work, in_transaction=False)
        return [
            QuarantineEntry._make(row[name] for name in QuarantineEntry._fields) for row in rows
        ]

    async def find_update(self, workspace_id: str, quarantine_id: int) -> QuarantinedUpdate | None:
        async def work(connection: Connection) -> Row | None:
            return await connection.fetchrow(
                sql("find_quarantined_update"), workspace_id, quarantine_id
            )

        row = await self._database.run(work, in_transaction=False)
        if row is None:
            return None
        whole = row["whole"]
        return QuarantinedUpdate(row["origin"], None if whole is None else read_update(whole))

    async def note_replay(
        self, workspace_id: str, quarantine_id: int, result: Result, *, by: Author
    ) -> None:
        # What the rules say of the update may quote it, so it is made storable once more.
        result = result._replace(
            device_id=storable(result.device_id), detail=storable(result.detail)
        )
        call = bound(
            "note_replay",
            workspace_id=workspace_id,
            quarantine_id=quarantine_id,
            who=by.who,
            outcome=result.outcome.value,
            reason=result.reason and result.reason.value,
            detail=result.detail,
        )

        async def work(connection: Connection) -> None:
            await connection.execute(*call)
            change = replay_change(quarantine_id, result)
            await record_changes(connection, workspace_id, by, [change])

        await self._database.run(work)
