"""Commands on provider connections. Each runs within its caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from domain.changes import provider_change
from domain.model import Workspace
from domain.registry import (
    Archived,
    NotFound,
    Stored,
    check_provider,
    find_move,
    refuse_in_use,
    revision_of,
)
from storage.changes import record_changes
from storage.queries import bound, sql
from storage.registry.devices import rekey_devices
from storage.registry.workspaces import lock_workspace
from storage.rows import to_connection

if TYPE_CHECKING:
    from domain.changes import Author
    from domain.model import ProviderConnection
    from domain.registry import Conflict, Moved
    from storage.gateway import Connection


async def put_provider(
    database: Connection, connection: ProviderConnection, *, expected: int | None, by: Author
) -> Stored | NotFound | Conflict | Moved | Archived:
    """Store the connection whole."""
    if refusal := check_provider(connection):
        return refusal
    key = (connection.workspace_id, connection.provider_id)
    locked = await lock_workspace(database, connection.workspace_id)
    if not isinstance(locked, Workspace):
        return locked
    stored = await _find(database, *key)
    if stored is not None and stored.archived_at is not None:
        return Archived("connection")
    revision = revision_of(stored)
    if moved := find_move(revision, expected):
        return moved
    if stored == connection:
        return Stored(created=False, revision=revision)
    is_vin = connection.ids_are_vins
    if stored is not None and stored.ids_are_vins != is_vin:
        refusal = await rekey_devices(database, *key, ids_are_vins=is_vin)
        if refusal is not None:
            return refusal
    await database.execute(*bound("put_provider", **_provider_values(connection)))
    await database.execute(sql("make_connection_state"), *key)
    await _note(database, stored, connection, by)
    return Stored(created=stored is None, revision=revision + 1)


async def archive_provider(
    database: Connection, workspace_id: str, provider_id: str, *, expected: int | None, by: Author
) -> ProviderConnection | NotFound | Conflict | Moved | Archived:
    """Archive a connection without active devices. Archived again, it stays as it is."""
    locked = await lock_workspace(database, workspace_id)
    if not isinstance(locked, Workspace):
        return locked
    stored = await _find(database, workspace_id, provider_id)
    if stored is None:
        return NotFound("connection")
    if moved := find_move(stored.revision, expected):
        return moved
    if stored.archived_at is not None:
        return stored
    in_use = await database.fetchval(sql("count_active_devices"), workspace_id, provider_id)
    if refusal := refuse_in_use(in_use):
        return refusal
    row = await database.fetchrow(sql("archive_provider"), workspace_id, provider_id)
    assert row is not None  # noqa: S101 the workspace is locked
    archived = to_connection(row)
    await _note(database, stored, archived, by)
    return archived


async def _find(
    database: Connection, workspace_id: str, provider_id: str
) -> ProviderConnection | None:
    row = await database.fetchrow(sql("get_provider"), workspace_id, provider_id)
    return None if row is None else to_connection(row)


async def _note(
    database: Connection,
    stored: ProviderConnection | None,
    wanted: ProviderConnection,
    by: Author,
) -> None:
    """Write the change into the history, and tell the actors of it."""
    await record_changes(database, wanted.workspace_id, by, [provider_change(stored, wanted)])
    await database.execute(sql("bump_config"), wanted.workspace_id)


def _provider_values(connection: ProviderConnection) -> dict[str, Any]:
    return {
        "workspace_id": connection.workspace_id,
        "provider_id": connection.provider_id,
        "provider_type": connection.provider_type,
        "transport": connection.transport,
        "base_url": connection.base_url,
        "credential": connection.credential,
        "settings": orjson.dumps(dict(connection.settings)).decode(),
        "active": connection.active,
        "expected_update_seconds": connection.expected_update_seconds,
        "ids_are_vins": connection.ids_are_vins,
        "period_is_documented": connection.period_is_documented,
        "simulated": connection.simulated,
        "delayed_after_seconds": connection.override.delayed_after_seconds,
        "stale_after_seconds": connection.override.stale_after_seconds,
        "grace_seconds": connection.override.grace_seconds,
    }
