"""API keys as stored: the hash of the secret, never the secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.changes import SYSTEM, describe_key, key_change
from ports.keys import FoundAccess, KeyRecord, ListedKey, Revoked
from storage.changes import record_changes
from storage.queries import bound, sql
from storage.rows import to_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Set
    from datetime import datetime

    from domain.changes import Author, Document
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
                None if row["key_id"] is None else to_key(row),
                None if row["workspace_id"] is None else to_workspace(row),
            )

        return await self._database.run(work, in_transaction=False)

    async def create_key(self, record: KeyRecord, *, by: Author = SYSTEM) -> ListedKey | None:
        call = bound(
            "create_key",
            **_members(record, by),
            expires_at=record.expires_at,
            revoked_at=record.revoked_at,
        )

        async def work(connection: Connection) -> ListedKey | None:
            row = await connection.fetchrow(*call)
            if row is None:
                return None
            created = _to_listed(row)
            await _record(connection, by, created, before=None)
            return created

        return await self._database.run(work)

    async def replace_key(self, record: KeyRecord, *, by: Author) -> None:
        """Store a key in place of the one of its name, which stops working. It never expires."""
        call = bound("replace_key", **_members(record, by))

        async def work(connection: Connection) -> None:
            row = await connection.fetchrow(*call)
            assert row is not None  # noqa: S101 it inserts or updates
            await _record(connection, by, _to_listed(row), before=None)

        await self._database.run(work)

    async def find_listed_key(self, id_or_name: str) -> ListedKey | None:
        async def work(connection: Connection) -> ListedKey | None:
            row = await connection.fetchrow(sql("find_listed_key"), id_or_name)
            return None if row is None else _to_listed(row)

        return await self._database.run(work, in_transaction=False)

    async def list_keys(
        self, *, within: Set[str] | None, with_revoked: bool, after: str | None, limit: int
    ) -> list[ListedKey]:
        call = bound(
            "list_keys",
            within=_sorted(within),
            after=after,
            with_revoked=with_revoked,
            most=limit,
        )

        async def work(connection: Connection) -> list[ListedKey]:
            return [_to_listed(row) for row in await connection.fetch(*call)]

        return await self._database.run(work, in_transaction=False)

    async def revoke_key(
        self, key_id: str, *, within: Set[str] | None, by: Author
    ) -> Revoked | None:
        call = bound("revoke_key", key_id=key_id, within=_sorted(within), revoked_by=by.who)

        async def work(connection: Connection) -> Revoked | None:
            row = await connection.fetchrow(*call)
            if row is None:
                return None
            revoked = Revoked(_to_listed(row), row["was_revoked"])
            if not revoked.before:
                former = revoked.key._replace(revoked_at=None)
                await _record(connection, by, revoked.key, before=former)
            return revoked

        return await self._database.run(work)

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        minutes = [at.replace(second=0, microsecond=0) for at in used_at.values()]

        async def work(connection: Connection) -> None:
            await connection.execute(sql("note_key_uses"), list(used_at), minutes)

        await self._database.run(work)


async def _record(
    connection: Connection, by: Author, key: ListedKey, *, before: ListedKey | None
) -> None:
    former = None if before is None else _describe(before)
    await record_changes(connection, None, by, [key_change(key.key_id, former, _describe(key))])


def _describe(key: ListedKey) -> Document:
    return describe_key(
        name=key.name,
        scopes=key.scopes,
        workspaces=key.workspaces,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


def _members(record: KeyRecord, by: Author) -> dict[str, object]:
    """Return what both ways to store a key need."""
    return {
        "key_id": record.key_id,
        "name": record.name,
        "secret_hash": record.secret_hash,
        "scopes": sorted(record.scopes),
        "workspaces": _sorted(record.workspaces),
        "created_by": by.who,
    }


def _sorted(names: Set[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def to_key(row: Row) -> KeyRecord:
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


def _to_listed(row: Row) -> ListedKey:
    allowed = row["key_workspaces"]
    return ListedKey(
        key_id=row["key_id"],
        name=row["name"],
        scopes=frozenset(row["scopes"]),
        workspaces=None if allowed is None else frozenset(allowed),
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        revoked_by=row["revoked_by"],
        last_used_at=row["last_used_at"],
    )
