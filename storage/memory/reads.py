"""Queries for the API, on the twin.

Each answer comes from one moment, because no other task runs between its look-ups.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ports.reads import EventPosition, SnapshotRow
from runtime.instants import format_instant
from storage.memory.health import page_health
from storage.memory.tables import DeviceState, Snapshot
from storage.rows import to_document
from storage.upkeep import count_days_ahead, partition_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import CycleKey, Device
    from ports.reads import CycleRow, EventRow, HealthPage, HealthQuery, RejectionRow
    from storage.memory.engine import Engine
    from storage.memory.tables import Tables


class MemoryReads:
    """ports.reads.Reads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def load_health(
        self, workspaces: frozenset[str] | None, query: HealthQuery
    ) -> HealthPage:
        tables = await self._arrive()
        return page_health(tables, workspaces, query, query.now or self._engine.now())

    async def list_snapshots(
        self, workspace_id: str, *, after: str | None, limit: int
    ) -> tuple[datetime, list[SnapshotRow]]:
        tables = await self._arrive()
        devices = sorted(tables.devices.of(workspace_id).items())
        active = [
            device for (_, device_id), device in devices if after is None or device_id > after
        ]
        active = [device for device in active if device.retired_at is None]
        return self._engine.now(), [_snapshot_row(tables, device) for device in active[:limit]]

    async def get_snapshot(
        self, workspace_id: str, device_id: str
    ) -> tuple[datetime, SnapshotRow] | None:
        tables = await self._arrive()
        device = tables.devices.get((workspace_id, device_id))
        return None if device is None else (self._engine.now(), _snapshot_row(tables, device))

    async def list_events(
        self, workspace_id: str, device_id: str, *, before: EventPosition | None, limit: int
    ) -> list[EventRow]:
        events = _events(await self._arrive(), workspace_id, device_id)
        events.sort(key=_position, reverse=True)
        return [event for event in events if before is None or _position(event) < before][:limit]

    async def list_cycles(
        self, workspace_id: str, *, before: CycleKey | None, limit: int
    ) -> list[CycleRow]:
        tables = await self._arrive()
        cycles = sorted(tables.poll_cycles.of(workspace_id).items(), reverse=True)
        return [cycle.row for key, cycle in cycles if before is None or key < before][:limit]

    async def get_cycle(self, workspace_id: str, cycle_id: str) -> CycleRow | None:
        tables = await self._arrive()
        key = tables.cycle_ids.get((workspace_id, cycle_id))
        cycle = tables.poll_cycles.get(key) if key else None
        return None if cycle is None else cycle.row

    async def list_rejections(
        self, workspace_id: str, *, before: int | None, reason: str | None, limit: int
    ) -> list[RejectionRow]:
        tables = await self._arrive()
        rows = [row for _, row in sorted(tables.rejections.of(workspace_id).items(), reverse=True)]
        older = [row for row in rows if before is None or row.rejection_id < before]
        return [row for row in older if reason is None or row.reason == reason][:limit]

    async def load_shards(self) -> list[Mapping[str, Any]]:
        tables = await self._arrive()
        shards = [_shard(tables, shard_id) for (shard_id,), _ in tables.sessions.items()]
        shards.sort(key=lambda shard: shard["shard_id"])
        shards.sort(key=lambda shard: shard["expires_at"], reverse=True)
        return [{name: _plain(value) for name, value in shard.items()} for shard in shards]

    async def check_ready(self) -> int:
        tables = await self._arrive()
        return count_days_ahead(self._engine.now().date(), map(partition_name, tables.partitions))

    async def _arrive(self) -> Tables:
        await self._engine.arrive()
        return self._engine.tables


def _snapshot_row(tables: Tables, device: Device) -> SnapshotRow:
    key = (device.workspace_id, device.device_id)
    state = tables.device_state.get(key) or DeviceState()
    snapshot = tables.snapshots.get(key) or Snapshot()
    document = to_document(snapshot.document)
    return SnapshotRow(
        device, snapshot.version, document, state.last_update_received_at, state.last_changed_at
    )


def _events(tables: Tables, workspace_id: str, device_id: str) -> list[EventRow]:
    """Return the events of one device that retention has left."""
    state = tables.device_state.get((workspace_id, device_id)) or DeviceState()
    keys = ((workspace_id, device_id, sequence) for sequence in range(1, state.version + 1))
    return [event for key in keys if (event := tables.events.get(key))]


def _position(event: EventRow) -> EventPosition:
    return EventPosition(event.recorded_at, event.sequence)


def _shard(tables: Tables, shard_id: str) -> dict[str, Any]:
    session, heartbeat = tables.sessions.get((shard_id,)), tables.heartbeats.get((shard_id,))
    assert session is not None  # noqa: S101
    assert heartbeat is not None  # noqa: S101 begun together, with one epoch
    told = {name: value for name, value in session._asdict().items() if name != "boot_id"}
    return {"shard_id": shard_id, **told, **heartbeat._asdict()}


def _plain(value: Any) -> Any:
    return format_instant(value) if isinstance(value, datetime) else value
