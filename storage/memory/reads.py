"""A view of what the twin stores: the queries of ports/reads.py that tests of the actors ask.

Each answer comes from one moment, because no other task runs between its look-ups. Answers have no
further pages: a test asks for more than there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ports.reads import EventPosition, SnapshotRow
from storage.documents import read_values
from storage.memory.tables import DeviceState, Snapshot
from storage.upkeep import count_days_ahead, partition_name

if TYPE_CHECKING:
    from datetime import datetime

    from domain.model import Device
    from ports.reads import CycleRow, EventRow, RejectionRow
    from storage.memory.engine import Engine
    from storage.memory.tables import Tables


class MemoryReads:
    """The part of ports.reads.Reads that shows what units and cycles have written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get_snapshot(
        self, workspace_id: str, device_id: str
    ) -> tuple[datetime, SnapshotRow] | None:
        tables = await self._arrive()
        device = tables.devices.get((workspace_id, device_id))
        return None if device is None else (self._engine.now(), _snapshot_row(tables, device))

    async def list_events(
        self, workspace_id: str, device_id: str, *, before: None, limit: int
    ) -> list[EventRow]:
        events = _events(await self._arrive(), workspace_id, device_id)
        events.sort(key=_position, reverse=True)
        return events[:limit]

    async def list_cycles(self, workspace_id: str, *, before: None, limit: int) -> list[CycleRow]:
        tables = await self._arrive()
        cycles = sorted(tables.poll_cycles.of(workspace_id).items(), reverse=True)
        return [cycle.row for _, cycle in cycles][:limit]

    async def list_rejections(
        self, workspace_id: str, *, before: None, reason: str | None, limit: int
    ) -> list[RejectionRow]:
        tables = await self._arrive()
        rows = sorted(tables.rejections.of(workspace_id).values(), reverse=True)
        return [row for row in rows if reason is None or row.reason == reason][:limit]

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
    link = tables.connection_state.get((device.workspace_id, device.provider_id))
    return SnapshotRow(
        device,
        snapshot.version,
        read_values(snapshot.document),
        state.last_update_received_at,
        state.last_changed_at,
        None if link is None else link.stream_down_since,
    )


def _events(tables: Tables, workspace_id: str, device_id: str) -> list[EventRow]:
    """Return the events of one device that retention has left."""
    state = tables.device_state.get((workspace_id, device_id)) or DeviceState()
    keys = ((workspace_id, device_id, sequence) for sequence in range(1, state.version + 1))
    return [event for key in keys if (event := tables.events.get(key))]


def _position(event: EventRow) -> EventPosition:
    return EventPosition(event.recorded_at, event.sequence)
