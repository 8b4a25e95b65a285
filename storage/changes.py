"""The history of what people changed: appended within a command's transaction, read as of then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from domain.changes import ChangeKind, StoredChange
from storage.queries import bound, sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.changes import Author, ConfiguredChange
    from storage.gateway import Connection, Database
    from storage.rows import Row


class PostgresChangeHistory:
    """ports.changes.ChangeHistory."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_as_of(
        self, workspace_id: str, kind: ChangeKind, at: datetime
    ) -> list[StoredChange]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(sql("find_changes_as_of"), workspace_id, kind.value, at)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        return [to_change(row) for row in await self._database.run(work, in_transaction=False)]


async def record_changes(
    connection: Connection, workspace_id: str, by: Author, changes: Sequence[ConfiguredChange]
) -> None:
    """Append the changes to the history, in the transaction that makes them. Runs in asyncio."""
    call = bound(
        "append_changes",
        workspace_id=workspace_id,
        who=by.who,
        trace_id=by.trace_id,
        kind=[change.kind.value for change in changes],
        subject=[change.subject for change in changes],
        before=[_dump(change.before) for change in changes],
        after=[_dump(change.after) for change in changes],
    )
    await connection.execute(*call)


def to_change(row: Row) -> StoredChange:
    before = row["before"]
    return StoredChange(
        row["change_id"],
        ChangeKind(row["kind"]),
        row["subject"],
        row["at"],
        row["who"],
        None if before is None else orjson.loads(before),
        orjson.loads(row["after"]),
        row["trace_id"],
    )


def _dump(document: Mapping[str, Any] | None) -> str | None:
    return None if document is None else orjson.dumps(document, option=orjson.OPT_UTC_Z).decode()
