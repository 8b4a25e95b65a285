"""The configuration: workspaces, provider connections, devices; and requests to run a cycle now.

Owns the commands' transactions: lock the workspace's row, read, decide (domain/registry.py), write
the changes, raise config_version. A command that changes nothing writes nothing, so any command may
be sent again. The commands themselves are in workspaces.py, providers.py and
devices.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.changes import SYSTEM, cycle_change
from domain.cycles import CycleKey, CycleTrigger
from domain.model import Workspace
from domain.registry import (
    NotFound,
    WorkspaceDraft,
    refuse_idle,
    refuse_legacy_devices,
    refuse_legacy_run,
    refuse_run,
)
from domain.schedule import cycle_id
from storage.changes import record_changes
from storage.queries import sql
from storage.registry.devices import devices_call, put_devices, retire_device, swap_device
from storage.registry.providers import archive_provider, put_provider
from storage.registry.workspaces import (
    archive_workspace,
    find_synchronized,
    lock_workspace,
    put_policy,
    put_workspace,
)
from storage.rows import to_connection, to_device, to_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.changes import Author
    from domain.model import Device, Policy, ProviderConnection
    from domain.registry import (
        Answer,
        Archived,
        Conflict,
        DeviceDraft,
        Moved,
        PolicyDraft,
        RegistryIsLegacy,
        Stored,
        Swap,
    )
    from domain.start_offsets import Synchronized
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
        active: bool | None = None,
        poll_interval_seconds: int | None = None,
        policy: Policy | None = None,
        time_zone: str | None = None,
        start_offset_seconds: int | None = None,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | Conflict | Moved | Archived | Synchronized:
        draft = WorkspaceDraft(
            name, active, poll_interval_seconds, policy, time_zone, start_offset_seconds
        )

        async def work(
            connection: Connection,
        ) -> Stored | Conflict | Moved | Archived | Synchronized | None:
            return await put_workspace(connection, workspace_id, draft, expected=expected, by=by)

        answer = await self._database.run(work)
        if answer is None:
            answer = await self._database.run(work)
        assert answer is not None  # noqa: S101 workspaces are never deleted
        return answer

    async def put_policy(
        self,
        workspace_id: str,
        *,
        draft: PolicyDraft,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Conflict | Moved | Archived | Synchronized:
        async def work(
            connection: Connection,
        ) -> Stored | NotFound | Conflict | Moved | Archived | Synchronized:
            return await put_policy(connection, workspace_id, draft, expected=expected, by=by)

        return await self._database.run(work)

    async def archive_workspace(
        self, workspace_id: str, *, expected: int | None = None, by: Author = SYSTEM
    ) -> Workspace | NotFound | Conflict | Moved:
        async def work(connection: Connection) -> Workspace | NotFound | Conflict | Moved:
            return await archive_workspace(connection, workspace_id, expected=expected, by=by)

        return await self._database.run(work)

    async def find_free_ordinal(self, poll_interval_seconds: int) -> int:
        row = await self._fetch_one("lowest_free_ordinal", poll_interval_seconds)
        return int(row[0])

    async def find_synchronized(
        self, stored: Workspace | None, wanted: Workspace
    ) -> Synchronized | None:
        async def work(connection: Connection) -> Synchronized | None:
            return await find_synchronized(connection, stored, wanted)

        # One statement: a transaction would cost two more round trips and add nothing.
        return await self._database.run(work, in_transaction=False)

    async def get_workspace(self, workspace_id: str) -> Workspace | None:
        row = await self._fetch_one("get_workspace", workspace_id)
        return None if row is None else to_workspace(row)

    async def list_workspaces(
        self,
        *,
        workspaces: frozenset[str] | None,
        after: str | None,
        limit: int,
        archived: bool = False,
    ) -> list[Workspace]:
        allowed = None if workspaces is None else sorted(workspaces)
        rows = await self._fetch("list_workspaces", allowed, after, limit, archived)
        return [to_workspace(row) for row in rows]

    # --- Provider connections

    async def put_provider(
        self,
        connection: ProviderConnection,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Conflict | Moved | Archived:
        async def work(database: Connection) -> Stored | NotFound | Conflict | Moved | Archived:
            return await put_provider(database, connection, expected=expected, by=by)

        return await self._database.run(work)

    async def archive_provider(
        self,
        workspace_id: str,
        provider_id: str,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> ProviderConnection | NotFound | Conflict | Moved | Archived:
        async def work(
            connection: Connection,
        ) -> ProviderConnection | NotFound | Conflict | Moved | Archived:
            return await archive_provider(
                connection, workspace_id, provider_id, expected=expected, by=by
            )

        return await self._database.run(work)

    async def get_provider(self, workspace_id: str, provider_id: str) -> ProviderConnection | None:
        row = await self._fetch_one("get_provider", workspace_id, provider_id)
        return None if row is None else to_connection(row)

    async def list_providers(
        self, workspace_id: str, *, after: str | None, limit: int | None, archived: bool = False
    ) -> list[ProviderConnection]:
        rows = await self._fetch("list_providers", workspace_id, after, limit, archived)
        return [to_connection(row) for row in rows]

    # --- Devices

    async def put_devices(
        self,
        workspace_id: str,
        drafts: Sequence[DeviceDraft],
        *,
        may_swap: bool = False,
        digest: str | None = None,
        by: Author = SYSTEM,
    ) -> list[Answer] | NotFound | Archived | RegistryIsLegacy:
        async def work(
            connection: Connection,
        ) -> list[Answer] | NotFound | Archived | RegistryIsLegacy:
            locked = await lock_workspace(connection, workspace_id)
            if not isinstance(locked, Workspace):
                return locked
            if refusal := refuse_legacy_devices(locked, by):
                return refusal
            return await put_devices(
                connection, workspace_id, drafts, may_swap=may_swap, digest=digest, by=by
            )

        return await self._database.run(work)

    async def swap_device(
        self,
        workspace_id: str,
        device_id: str,
        swap: Swap,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Swapped | NotFound | Conflict | Moved | Archived | RegistryIsLegacy:
        async def work(
            connection: Connection,
        ) -> Swapped | NotFound | Conflict | Moved | Archived | RegistryIsLegacy:
            locked = await lock_workspace(connection, workspace_id)
            if not isinstance(locked, Workspace):
                return NotFound("device") if isinstance(locked, NotFound) else locked
            if refusal := refuse_legacy_devices(locked, by):
                return refusal
            return await swap_device(
                connection, workspace_id, device_id, swap, expected=expected, by=by
            )

        return await self._database.run(work)

    async def retire_device(
        self,
        workspace_id: str,
        device_id: str,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Device | NotFound | Moved | RegistryIsLegacy:
        async def work(connection: Connection) -> Device | NotFound | Moved | RegistryIsLegacy:
            # Not refused in an archived workspace: there every device is retired already.
            locked = await lock_workspace(connection, workspace_id)
            if isinstance(locked, Workspace) and (refusal := refuse_legacy_devices(locked, by)):
                return refusal
            return await retire_device(
                connection, workspace_id, device_id, expected=expected, by=by
            )

        return await self._database.run(work)

    async def get_device(self, workspace_id: str, device_id: str) -> Device | None:
        row = await self._fetch_one("get_device", workspace_id, device_id)
        return None if row is None else to_device(row)

    async def list_devices(
        self,
        workspace_id: str,
        *,
        include_retired: bool,
        after: str | None,
        limit: int,
        tag: str | None = None,
    ) -> list[Device]:
        call = devices_call(
            workspace_id, include_retired=include_retired, after=after, limit=limit, tag=tag
        )
        return [to_device(row) for row in await self._fetch_call(*call)]

    # --- Run now

    async def request_cycle(
        self, workspace_id: str, trace_id: str, *, by: Author = SYSTEM
    ) -> str | NotFound | Conflict | Archived:
        async def work(connection: Connection) -> str | NotFound | Conflict | Archived:
            locked = await lock_workspace(connection, workspace_id)
            if not isinstance(locked, Workspace):
                return locked
            rows = await connection.fetch(sql("list_providers"), workspace_id, None, None, False)
            connections = map(to_connection, rows)
            refusal = refuse_run(locked) or refuse_legacy_run(locked)
            if refusal := refusal or refuse_idle(connections, locked.cutover):
                return refusal
            waiting: str | None = await connection.fetchval(
                sql("find_requested_cycle"), workspace_id
            )
            if waiting is not None:
                return waiting
            now = await connection.fetchval(sql("read_clock"))
            new_id = cycle_id(CycleKey(workspace_id, now, CycleTrigger.MANUAL, 1))
            await connection.execute(sql("request_cycle"), workspace_id, now, new_id, trace_id)
            await record_changes(connection, workspace_id, by, [cycle_change(new_id)])
            await connection.execute(sql("bump_config"), workspace_id)
            return new_id

        return await self._database.run(work)

    # --- Details

    async def _fetch(self, name: str, *args: Any) -> list[Any]:
        return await self._fetch_call(sql(name), *args)

    async def _fetch_call(self, *call: Any) -> list[Any]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(*call)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        return await self._database.run(work, in_transaction=False)

    async def _fetch_one(self, name: str, *args: Any) -> Any:
        async def work(connection: Connection) -> Any:
            return await connection.fetchrow(sql(name), *args)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        return await self._database.run(work, in_transaction=False)
