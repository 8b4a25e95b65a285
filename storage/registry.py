"""The configuration: workspaces, provider connections, devices; and requests to run a cycle now.

Owns the commands' transactions: lock the workspace's row, read, decide (domain/registry.py), write
the changes, raise config_version. A command that changes nothing writes nothing, so any command may
be sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from domain.changes import SYSTEM, provider_change, workspace_change
from domain.cycles import CycleKey, CycleTrigger
from domain.model import Workspace
from domain.registry import (
    Conflict,
    NotFound,
    Stored,
    check_provider,
    check_workspace,
    keeps_ordinal,
)
from domain.schedule import cycle_id
from storage.changes import record_changes
from storage.queries import bound, sql
from storage.registry_devices import put_devices, rekey_devices, retire_device, swap_device
from storage.rows import to_connection, to_device, to_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.changes import Author
    from domain.model import Device, Policy, ProviderConnection
    from domain.registry import DeviceDraft, Swap
    from ports.registry import Swapped
    from storage.gateway import Connection, Database


class PostgresRegistry:
    """ports.registry.Registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- Workspaces

    async def put_workspace(
        self,
        workspace_id: str,
        *,
        name: str,
        active: bool,
        poll_interval_seconds: int,
        policy: Policy,
        by: Author = SYSTEM,
    ) -> Stored | Conflict:
        if refusal := check_workspace(poll_interval_seconds, policy):
            return refusal
        made = Workspace(workspace_id, name, active, None, poll_interval_seconds, policy)
        wanted = (name, active, poll_interval_seconds, policy)
        values = {
            "workspace_id": workspace_id,
            "name": name,
            "active": active,
            "poll_interval_seconds": poll_interval_seconds,
            **_policy_values(policy),
        }

        async def create(connection: Connection) -> Stored | None:
            """Return None if it was created meanwhile.

            This does not wait for the row: its holder may be waiting for the lock on ordinals,
            which this transaction has.
            """
            ordinal = await _take_ordinal(connection, poll_interval_seconds) if active else None
            row = await connection.fetchrow(*bound("create_workspace", **values, ordinal=ordinal))
            if row is None:
                return None
            await record_changes(connection, workspace_id, by, [workspace_change(None, made)])
            return Stored(created=True)

        async def work(connection: Connection) -> Stored | None:
            row = await connection.fetchrow(sql("lock_workspace"), workspace_id)
            if row is None:
                return await create(connection)
            stored = to_workspace(row)
            if (stored.name, stored.active, stored.poll_interval_seconds, stored.policy) != wanted:
                keeps = keeps_ordinal(
                    stored, active=active, poll_interval_seconds=poll_interval_seconds
                )
                takes = active and not keeps
                ordinal = await _take_ordinal(connection, poll_interval_seconds) if takes else None
                await connection.execute(
                    *bound("update_workspace", **values, ordinal=ordinal, keeps_ordinal=keeps)
                )
                changes = [workspace_change(stored, made)]
                await record_changes(connection, workspace_id, by, changes)
            return Stored(created=False)

        answer = await self._database.run(work)
        if answer is None:
            answer = await self._database.run(work)
        assert answer is not None  # noqa: S101 workspaces are never deleted
        return answer

    async def get_workspace(self, workspace_id: str) -> Workspace | None:
        row = await self._fetch_one("get_workspace", workspace_id)
        return None if row is None else to_workspace(row)

    async def list_workspaces(
        self, *, workspaces: frozenset[str] | None, after: str | None, limit: int
    ) -> list[Workspace]:
        allowed = None if workspaces is None else sorted(workspaces)
        return [
            to_workspace(row) for row in await self._fetch("list_workspaces", allowed, after, limit)
        ]

    # --- Provider connections

    async def put_provider(
        self, connection: ProviderConnection, *, by: Author = SYSTEM
    ) -> Stored | NotFound | Conflict:
        if refusal := check_provider(connection):
            return refusal
        key = (connection.workspace_id, connection.provider_id)

        async def work(database: Connection) -> Stored | NotFound | Conflict:
            if await database.fetchrow(sql("lock_workspace"), connection.workspace_id) is None:
                return NotFound("workspace")
            row = await database.fetchrow(sql("get_provider"), *key)
            stored = None if row is None else to_connection(row)
            if stored != connection:
                is_vin = connection.ids_are_vins
                if stored is not None and stored.ids_are_vins != is_vin:
                    refusal = await rekey_devices(database, *key, ids_are_vins=is_vin)
                    if refusal is not None:
                        return refusal
                await database.execute(*bound("put_provider", **_provider_values(connection)))
                await database.execute(sql("make_connection_state"), *key)
                changes = [provider_change(stored, connection)]
                await record_changes(database, connection.workspace_id, by, changes)
                await database.execute(sql("bump_config"), connection.workspace_id)
            return Stored(created=stored is None)

        return await self._database.run(work)

    async def get_provider(self, workspace_id: str, provider_id: str) -> ProviderConnection | None:
        row = await self._fetch_one("get_provider", workspace_id, provider_id)
        return None if row is None else to_connection(row)

    async def list_providers(
        self, workspace_id: str, *, after: str | None, limit: int | None
    ) -> list[ProviderConnection]:
        return [
            to_connection(row)
            for row in await self._fetch("list_providers", workspace_id, after, limit)
        ]

    # --- Devices

    async def put_devices(
        self,
        workspace_id: str,
        drafts: Sequence[DeviceDraft],
        *,
        may_swap: bool = False,
        by: Author = SYSTEM,
    ) -> list[Stored | NotFound | Conflict] | NotFound:
        async def work(connection: Connection) -> list[Stored | NotFound | Conflict] | NotFound:
            if await connection.fetchrow(sql("lock_workspace"), workspace_id) is None:
                return NotFound("workspace")
            return await put_devices(connection, workspace_id, drafts, may_swap=may_swap, by=by)

        return await self._database.run(work)

    async def swap_device(
        self, workspace_id: str, device_id: str, swap: Swap, *, by: Author = SYSTEM
    ) -> Swapped | NotFound | Conflict:
        async def work(connection: Connection) -> Swapped | NotFound | Conflict:
            await connection.fetchrow(sql("lock_workspace"), workspace_id)
            return await swap_device(connection, workspace_id, device_id, swap, by=by)

        return await self._database.run(work)

    async def retire_device(
        self, workspace_id: str, device_id: str, *, by: Author = SYSTEM
    ) -> Device | NotFound:
        async def work(connection: Connection) -> Device | NotFound:
            await connection.fetchrow(sql("lock_workspace"), workspace_id)
            return await retire_device(connection, workspace_id, device_id, by=by)

        return await self._database.run(work)

    async def get_device(self, workspace_id: str, device_id: str) -> Device | None:
        row = await self._fetch_one("get_device", workspace_id, device_id)
        return None if row is None else to_device(row)

    async def list_devices(
        self, workspace_id: str, *, include_retired: bool, after: str | None, limit: int
    ) -> list[Device]:
        rows = await self._fetch("list_devices", workspace_id, include_retired, after, limit)
        return [to_device(row) for row in rows]

    # --- Run now

    async def request_cycle(self, workspace_id: str, trace_id: str) -> str | NotFound:
        async def work(connection: Connection) -> str | NotFound:
            if await connection.fetchrow(sql("lock_workspace"), workspace_id) is None:
                return NotFound("workspace")
            waiting: str | None = await connection.fetchval(
                sql("find_requested_cycle"), workspace_id
            )
            if waiting is not None:
                return waiting
            now = await connection.fetchval(sql("read_clock"))
            new_id = cycle_id(CycleKey(workspace_id, now, CycleTrigger.MANUAL, 1))
            await connection.execute(sql("request_cycle"), workspace_id, now, new_id, trace_id)
            await connection.execute(sql("bump_config"), workspace_id)
            return new_id

        return await self._database.run(work)

    # --- Details

    async def _fetch(self, name: str, *args: Any) -> list[Any]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(sql(name), *args)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        return await self._database.run(work, in_transaction=False)

    async def _fetch_one(self, name: str, *args: Any) -> Any:
        async def work(connection: Connection) -> Any:
            return await connection.fetchrow(sql(name), *args)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        return await self._database.run(work, in_transaction=False)


async def _take_ordinal(connection: Connection, poll_interval_seconds: int) -> int:
    """Return the lowest free ordinal of the interval, which is this transaction's if it commits.

    Waits for other transactions that take an ordinal. Once one of them has the lock on ordinals, it
    waits for nothing else.
    """
    await connection.execute(sql("lock_ordinals"))
    ordinal: int = await connection.fetchval(sql("lowest_free_ordinal"), poll_interval_seconds)
    return ordinal


def _policy_values(policy: Policy) -> dict[str, float]:
    return {
        "freshness_target_seconds": policy.freshness_target_seconds,
        "delayed_after_seconds": policy.delayed_after_seconds,
        "stale_after_seconds": policy.stale_after_seconds,
        "grace_seconds": policy.grace_seconds,
    }


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
        "delayed_after_seconds": connection.override.delayed_after_seconds,
        "stale_after_seconds": connection.override.stale_after_seconds,
        "grace_seconds": connection.override.grace_seconds,
    }
