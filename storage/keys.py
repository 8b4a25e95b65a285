"""API keys as stored: the hash of the secret, never the secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ports.keys import FoundAccess, KeyRecord
from storage.queries import bound, sql
from storage.rows import to_workspace

if TYPE_CHECKING:
    from storage.gateway import Connection, Database
    from storage.rows import Row


class PostgresKeys:
    """ports.keys.Keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_key(self, key_id: str) -> KeyRecord | None:
        return (await self.find_access(key_id, None)).key

    async def find_access(self, key_id: str, workspace_id: str | None) -> FoundAccess:
        async def work(connection: Connection) -> FoundAccess:
            row = await connection.fetchrow(sql("find_access"), key_id, workspace_id)
            assert row is not None  # noqa: S101 it begins with a row of its own
            return FoundAccess(
                None if row["key_id"] is None else _to_key(row),
                None if row["workspace_id"] is None else to_workspace(row),
            )

        return await self._database.run(work, in_transaction=False)

    async def create_key(self, record: KeyRecord) -> None:
        """Idempotent; the same key_id again replaces what is stored."""
        allowed = None if record.workspaces is None else sorted(record.workspaces)
        call = bound(
            "create_key",
            key_id=record.key_id,
            name=record.name,
            secret_hash=record.secret_hash,
            scopes=sorted(record.scopes),
            workspaces=allowed,
            expires_at=record.expires_at,
            revoked_at=record.revoked_at,
        )

        async def work(connection: Connection) -> None:
            await connection.execute(*call)

        await self._database.run(work)


def _to_key(row: Row) -> KeyRecord:
    allowed = row["key_workspaces"]
    return KeyRecord(
        key_id=row["key_id"],
        name=row["key_name"],
        secret_hash=row["secret_hash"],
        scopes=frozenset(row["scopes"]),
        workspaces=None if allowed is None else frozenset(allowed),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
