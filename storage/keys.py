"""API keys as stored: the hash of the secret, never the secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ports import KeyRecord
from storage.queries import sql

if TYPE_CHECKING:
    from storage.gateway import Connection, Database


class PostgresKeys:
    """api.ports.Keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_key(self, key_id: str) -> KeyRecord | None:
        async def work(connection: Connection) -> KeyRecord | None:
            row = await connection.fetchrow(sql("find_key"), key_id)
            if row is None:
                return None
            key, name, secret_hash, scopes, workspaces, expires_at, revoked_at = row
            allowed = None if workspaces is None else frozenset(workspaces)
            return KeyRecord(key, name, secret_hash, frozenset(scopes), allowed, expires_at, revoked_at)

        return await self._database.run(work, in_transaction=False)

    async def create_key(self, record: KeyRecord) -> None:
        """Idempotent; the same key_id again replaces what is stored."""
        allowed = None if record.workspaces is None else sorted(record.workspaces)
        values = (record.key_id, record.name, record.secret_hash, sorted(record.scopes), allowed)

        async def work(connection: Connection) -> None:
            await connection.execute(sql("create_key"), *values, record.expires_at, record.revoked_at)

        await self._database.run(work)
