"""The configuration, on the twin.

domain/registry.py decides on commands, as on PostgreSQL.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import orjson

from domain.model import CycleKey, CycleTrigger, Workspace
from domain.registry import (
    NotFound,
    Stored,
    check_provider,
    check_workspace,
    judge_drafts,
    keeps_ordinal,
    list_changed_devices,
    retire,
)
from domain.schedule import cycle_id, lowest_free
from ports.reads import CycleRow
from storage.memory.tables import PollCycleRow
from storage.unit_rows import ConnectionRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import Device, Policy, ProviderConnection
    from domain.registry import Conflict, DeviceDraft
    from storage.memory.engine import Engine
    from storage.memory.tables import Tables

T = TypeVar("T")


class MemoryRegistry:
    """ports.registry.Registry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- Workspaces

    async def put_workspace(
        self,
        workspace_id: str,
        *,
        name: str,
        active: bool,
        poll_interval_seconds: int,
        policy: Policy,
    ) -> Stored | Conflict:
        if refusal := check_workspace(poll_interval_seconds, policy):
            return refusal
        async with self._engine.writing() as tables:
            stored = tables.workspaces.get((workspace_id,))
            if stored is None:
                made = Workspace(workspace_id, name, active, None, poll_interval_seconds, policy)
                tables.workspaces.put((workspace_id,), self._give_place(tables, made))
                tables.made_at[workspace_id] = self._engine.now()
                self._engine.notify(f"workspace:{workspace_id}")
                return Stored(created=True)
            wanted = replace(
                stored,
                name=name,
                active=active,
                poll_interval_seconds=poll_interval_seconds,
                policy=policy,
            )
            if wanted != stored:
                if not keeps_ordinal(
                    stored, active=active, poll_interval_seconds=poll_interval_seconds
                ):
                    wanted = self._give_place(tables, wanted)
                tables.workspaces.put((workspace_id,), wanted)
                self._bump_config(tables, workspace_id)
            return Stored(created=False)

    async def get_workspace(self, workspace_id: str) -> Workspace | None:
        await self._engine.arrive()
        return self._engine.tables.workspaces.get((workspace_id,))

    async def list_workspaces(
        self, *, workspaces: frozenset[str] | None, after: str | None, limit: int
    ) -> list[Workspace]:
        await self._engine.arrive()
        stored = self._engine.tables.workspaces.items()
        return _page(
            {key: row for (key,), row in stored if workspaces is None or key in workspaces},
            after,
            limit,
        )

    # --- Provider connections

    async def put_provider(self, connection: ProviderConnection) -> Stored | NotFound | Conflict:
        if refusal := check_provider(connection):
            return refusal
        key = (connection.workspace_id, connection.provider_id)
        async with self._engine.writing() as tables:
            if tables.workspaces.get((connection.workspace_id,)) is None:
                return NotFound("workspace")
            stored = tables.providers.get(key)
            if stored != connection:
                settings = orjson.loads(orjson.dumps(dict(connection.settings)))
                tables.providers.put(key, replace(connection, settings=settings))
                if stored is None:
                    tables.connection_state.put(key, ConnectionRow(*key))
                self._bump_config(tables, connection.workspace_id)
            return Stored(created=stored is None)

    async def get_provider(self, workspace_id: str, provider_id: str) -> ProviderConnection | None:
        await self._engine.arrive()
        return self._engine.tables.providers.get((workspace_id, provider_id))

    async def list_providers(
        self, workspace_id: str, *, after: str | None, limit: int | None
    ) -> list[ProviderConnection]:
        await self._engine.arrive()
        stored = self._engine.tables.providers.of(workspace_id)
        return _page({provider_id: row for (_, provider_id), row in stored.items()}, after, limit)

    # --- Devices

    async def put_devices(
        self, workspace_id: str, drafts: Sequence[DeviceDraft]
    ) -> list[Stored | NotFound | Conflict] | NotFound:
        async with self._engine.writing() as tables:
            if tables.workspaces.get((workspace_id,)) is None:
                return NotFound("workspace")
            providers = {provider_id for _, provider_id in tables.providers.of(workspace_id)}
            stored = {
                device_id: device
                for (_, device_id), device in tables.devices.of(workspace_id).items()
            }
            answers = judge_drafts(
                drafts, providers, stored, _holders(tables, workspace_id, drafts)
            )
            if all(isinstance(answer, Stored) for answer in answers):
                reached = list_changed_devices(workspace_id, drafts, stored, self._engine.now())
                for device in reached:
                    tables.put_device(device)
                if reached:
                    self._bump_config(tables, workspace_id)
            return answers

    async def retire_device(self, workspace_id: str, device_id: str) -> Device | NotFound:
        async with self._engine.writing() as tables:
            stored = tables.devices.get((workspace_id, device_id))
            if stored is None:
                return NotFound("device")
            retired = retire(stored, self._engine.now())
            if retired != stored:
                tables.put_device(retired)
                self._bump_config(tables, workspace_id)
            return retired

    async def get_device(self, workspace_id: str, device_id: str) -> Device | None:
        await self._engine.arrive()
        return self._engine.tables.devices.get((workspace_id, device_id))

    async def list_devices(
        self, workspace_id: str, *, include_retired: bool, after: str | None, limit: int
    ) -> list[Device]:
        await self._engine.arrive()
        stored = self._engine.tables.devices.of(workspace_id).values()
        shown = {
            device.device_id: device
            for device in stored
            if include_retired or device.retired_at is None
        }
        return _page(shown, after, limit)

    # --- Run now

    async def request_cycle(self, workspace_id: str, trace_id: str) -> str | NotFound:
        async with self._engine.writing() as tables:
            if tables.workspaces.get((workspace_id,)) is None:
                return NotFound("workspace")
            cycles = tables.poll_cycles.of(workspace_id).values()
            waiting = [cycle.row for cycle in cycles if cycle.row.outcome == "requested"]
            if waiting:
                return waiting[0].cycle_id
            requested = _requested_cycle(workspace_id, trace_id, self._engine.now())
            tables.put_cycle(PollCycleRow(requested, epoch=None))
            self._bump_config(tables, workspace_id)
            return requested.cycle_id

    # --- Details

    def _give_place(self, tables: Tables, workspace: Workspace) -> Workspace:
        """Return the workspace with the lowest free ordinal of its interval.

        An inactive workspace gets none.
        """
        if not workspace.active:
            return replace(workspace, ordinal=None, scheduled_since=None)
        interval = workspace.poll_interval_seconds
        rows = [
            row for _, row in tables.workspaces.items() if row.poll_interval_seconds == interval
        ]
        ordinal = lowest_free(row.ordinal for row in rows if row.ordinal is not None)
        return replace(workspace, ordinal=ordinal, scheduled_since=self._engine.now())

    def _bump_config(self, tables: Tables, workspace_id: str) -> None:
        workspace = tables.workspaces.get((workspace_id,))
        if workspace is not None:
            tables.workspaces.put(
                (workspace_id,), replace(workspace, config_version=workspace.config_version + 1)
            )
            self._engine.notify(f"workspace:{workspace_id}")


def _requested_cycle(workspace_id: str, trace_id: str, now: datetime) -> CycleRow:
    """Return a requested cycle. Its slot begins at the moment of the request."""
    key = CycleKey(workspace_id, now, CycleTrigger.MANUAL, 1)
    return CycleRow(key, cycle_id(key), trace_id, None, now, None, None, "requested", {})


def _holders(
    tables: Tables, workspace_id: str, drafts: Sequence[DeviceDraft]
) -> dict[tuple[str, str], str]:
    names = {(draft.provider_id, draft.external_id) for draft in drafts}
    return {name: holder for name in names if (holder := tables.holders.get((workspace_id, *name)))}


def _page(rows: Mapping[str, T], after: str | None, limit: int | None) -> list[T]:
    keys = sorted(key for key in rows if after is None or key > after)
    return [rows[key] for key in keys[:limit]]
