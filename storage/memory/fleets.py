"""Fleets for the twin: the commands of ports/registry.py that tests of the actors give.

The commands are carried out as PostgreSQL carries them out, with ordinals, config versions and
notices. They are not judged: a fleet that the API would refuse is a mistake of the test.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from domain.cycles import CycleKey, CycleTrigger
from domain.device_changes import Registered, plan_changes, retire
from domain.model import Workspace
from domain.registry import Stored, keeps_ordinal, keeps_place
from domain.schedule import cycle_id, lowest_free
from ports.reads import CycleRow
from storage.memory.tables import DeviceState, PollCycleRow, Snapshot
from storage.unit.rows import ConnectionRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.assignments import DeviceAssignment
    from domain.device_changes import DeviceChange, UnitKey
    from domain.model import Device, Policy, ProviderConnection
    from domain.registry import DeviceDraft
    from storage.memory.engine import Engine
    from storage.memory.tables import Tables


class MemoryFleets:
    """The part of ports.registry.Registry that makes and changes fleets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put_workspace(
        self,
        workspace_id: str,
        *,
        name: str,
        active: bool,
        poll_interval_seconds: int,
        policy: Policy,
        start_offset_seconds: int | None = None,
    ) -> Stored:
        made = Workspace(workspace_id, name, active, None, poll_interval_seconds, policy)
        made = replace(made, start_offset_seconds=start_offset_seconds)
        async with self._engine.writing() as tables:
            stored = tables.workspaces.get((workspace_id,))
            if stored is None:
                tables.workspaces.put((workspace_id,), self._give_place(tables, made))
                tables.made_at[workspace_id] = self._engine.now()
                self._engine.notify(f"workspace:{workspace_id}")
                return Stored(created=True)
            wanted = replace(
                made,
                ordinal=stored.ordinal,
                config_version=stored.config_version,
                scheduled_since=stored.scheduled_since,
                cutover=stored.cutover,
                cutover_revision=stored.cutover_revision,
                asking_changed_at=stored.asking_changed_at,
                start_offset_seconds=stored.start_offset_seconds
                if start_offset_seconds is None
                else start_offset_seconds,
            )
            if wanted != stored:
                if not keeps_ordinal(
                    stored, active=active, poll_interval_seconds=poll_interval_seconds
                ):
                    wanted = self._give_place(tables, wanted)
                elif not keeps_place(stored, wanted):
                    wanted = replace(wanted, scheduled_since=self._engine.now())
                tables.workspaces.put((workspace_id,), wanted)
                self._bump_config(tables, workspace_id)
            return Stored(created=False)

    async def put_provider(self, connection: ProviderConnection) -> Stored:
        key = (connection.workspace_id, connection.provider_id)
        async with self._engine.writing() as tables:
            stored = tables.providers.get(key)
            if stored != connection:
                settings = orjson.loads(orjson.dumps(dict(connection.settings)))
                tables.providers.put(key, replace(connection, settings=settings))
                if stored is None:
                    tables.connection_state.put(key, ConnectionRow(*key))
                self._bump_config(tables, connection.workspace_id)
            return Stored(created=stored is None)

    async def put_devices(self, workspace_id: str, drafts: Sequence[DeviceDraft]) -> list[Stored]:
        async with self._engine.writing() as tables:
            known = _load_registered(tables, workspace_id)
            changes = plan_changes(workspace_id, drafts, known, self._engine.now())
            for change in changes:
                _write_change(tables, change)
            if changes:
                self._bump_config(tables, workspace_id)
            return [Stored(created=draft.device_id not in known.devices) for draft in drafts]

    async def retire_device(self, workspace_id: str, device_id: str) -> Device:
        async with self._engine.writing() as tables:
            stored = tables.devices.get((workspace_id, device_id))
            assert stored is not None, f"{device_id} was never put"  # noqa: S101 for tests only
            retired = retire(stored, self._engine.now())
            if retired != stored:
                tables.put_device(retired)
                _end_assignment(tables, stored, retired.retired_at)
                self._bump_config(tables, workspace_id)
            return retired

    async def request_cycle(self, workspace_id: str, trace_id: str) -> str:
        async with self._engine.writing() as tables:
            cycles = tables.poll_cycles.of(workspace_id).values()
            waiting = [cycle.row for cycle in cycles if cycle.row.outcome == "requested"]
            if waiting:
                return waiting[0].cycle_id
            requested = _requested_cycle(workspace_id, trace_id, self._engine.now())
            tables.put_cycle(PollCycleRow(requested, epoch=None))
            self._bump_config(tables, workspace_id)
            return requested.cycle_id

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
        assert workspace is not None, f"{workspace_id} was never put"  # noqa: S101 for tests only
        tables.workspaces.put(
            (workspace_id,), replace(workspace, config_version=workspace.config_version + 1)
        )
        self._engine.notify(f"workspace:{workspace_id}")


def _load_registered(tables: Tables, workspace_id: str) -> Registered:
    devices = {
        device_id: device for (_, device_id), device in tables.devices.of(workspace_id).items()
    }
    assignments: dict[UnitKey, list[DeviceAssignment]] = {}
    for one in tables.assignments.of(workspace_id).values():
        assignments.setdefault((one.provider_id, one.external_key), []).append(one)
    providers = {
        provider_id: connection.ids_are_vins
        for (_, provider_id), connection in tables.providers.of(workspace_id).items()
    }
    # Holders and present assignments only matter where drafts are judged.
    return Registered(providers, devices, {}, assignments, {})


def _write_change(tables: Tables, change: DeviceChange) -> None:
    """Store the device. An assignment that begins has no history, and its version goes on."""
    device, begun = change.device, change.begun
    key = (device.workspace_id, device.device_id)
    stored = tables.devices.get(key)
    if stored is not None and change.ends_at is not None:
        _end_assignment(tables, stored, change.ends_at)
    tables.put_device(device)
    if begun is None:
        return
    tables.assignments.put((*key, begun.assignment), begun)
    if begun.assignment > 1:
        version = (tables.device_state.get(key) or DeviceState()).version
        fresh = DeviceState(version, assignment=begun.assignment, entered_at=begun.entered_at)
        tables.device_state.put(key, fresh)
        tables.snapshots.put(key, Snapshot(version))


def _end_assignment(tables: Tables, device: Device, ended_at: datetime | None) -> None:
    key = (device.workspace_id, device.device_id, device.assignment)
    present = tables.assignments.get(key)
    assert present is not None, f"{device.device_id} was never put"  # noqa: S101 for tests only
    tables.assignments.put(key, replace(present, ended_at=ended_at))


def _requested_cycle(workspace_id: str, trace_id: str, now: datetime) -> CycleRow:
    """Return a requested cycle. Its slot begins at the moment of the request."""
    key = CycleKey(workspace_id, now, CycleTrigger.MANUAL, 1)
    return CycleRow(key, cycle_id(key), trace_id, None, now, None, None, "requested", {})
