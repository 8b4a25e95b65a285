"""The history of what people changed: appended within a command's transaction, never rewritten.

Read as it was at a past instant, and as the audit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from domain.changes import ChangeKind, StoredChange
from ports.changes import AuditEntry
from storage.queries import bound, sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.changes import Author, ConfiguredChange
    from ports.changes import AuditQuery
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

    async def list_changes(self, query: AuditQuery) -> list[AuditEntry]:
        call = list_call(query)

        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(*call)

        rows = await self._database.run(work, in_transaction=False)
        return [AuditEntry(to_change(row), row["key_name"]) for row in rows]


def list_call(query: AuditQuery) -> tuple[Any, ...]:
    """Return the statement of a list, with its arguments: of one workspace by its index."""
    within = None if query.within is None else sorted(query.within)
    workspace_id = None
    if within is not None and len(within) == 1 and not query.with_keys:
        workspace_id, within = within[0], None
    return bound("list_changes", **query._asdict() | {"within": within}, workspace_id=workspace_id)


async def record_changes(
    connection: Connection,
    workspace_id: str | None,
    by: Author,
    changes: Sequence[ConfiguredChange],
    *,
    part_of: int | None = None,
) -> None:
    """Append the changes to the history, in the transaction that makes them. Runs in asyncio.

    `workspace_id` is None for keys. `part_of` is what `record_whole` returned.
    """
    call = bound(
        "append_changes",
        workspace_id=workspace_id,
        **by._asdict(),
        part_of=part_of,
        kind=[change.kind.value for change in changes],
        subject=[change.subject for change in changes],
        before=[_dump(change.before) for change in changes],
        after=[_dump(change.after) for change in changes],
    )
    await connection.execute(*call)


async def record_whole(
    connection: Connection, workspace_id: str, by: Author, change: ConfiguredChange
) -> int:
    """Append the entry that stands for an import or sync. Return its id. Runs in asyncio."""
    call = bound(
        "append_whole",
        workspace_id=workspace_id,
        **by._asdict(),
        kind=change.kind.value,
        subject=change.subject,
        after=_dump(change.after),
    )
    change_id: int = await connection.fetchval(*call)
    return change_id


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
        row["workspace_id"],
        row["address"],
        row["part_of"],
    )


def _dump(document: Mapping[str, Any] | None) -> str | None:
    return None if document is None else orjson.dumps(document, option=orjson.OPT_UTC_Z).decode()
