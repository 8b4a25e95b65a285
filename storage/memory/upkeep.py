"""The upkeep of tables, on the twin: a partition is a day in a set."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from storage.upkeep import count_days_ahead, partition_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from ports.reads import CycleRow
    from ports.upkeep import Retention
    from storage.memory.engine import Engine
    from storage.memory.tables import DeviceEdge, Edge, Table, Tables

E = TypeVar("E", "Edge", "DeviceEdge")
K = TypeVar("K", bound=tuple[Any, ...])
T = TypeVar("T")


class MemoryUpkeepStore:
    """ports.upkeep.UpkeepStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ensure_partitions(self, *, days_ahead: int) -> int:
        async with self._engine.writing() as tables:
            today = self._engine.now().date()
            tables.partitions |= {today + timedelta(days=day) for day in range(days_ahead + 1)}
            return count_days_ahead(today, map(partition_name, tables.partitions))

    async def drop_expired(self, kept: Retention) -> Mapping[str, int]:
        async with self._engine.writing() as tables:
            return {
                "event_partitions": self._drop_partitions(tables, kept.event_days),
                "poll_cycles": self._drop_cycles(tables, kept.cycle_days),
                "rejections": self._drop_old(
                    tables.rejections, lambda row: row.recorded_at, kept.rejection_days
                ),
                # The twin has no spans, checkpoints and backlogs: no actor reads them.
                **dict.fromkeys(("cycle_spans", "rejection_spans", "backlog_events"), 0),
                "connection_events": self._drop_edges(
                    tables.connection_events, _fact_of_connection, kept.edge_days
                ),
                "device_events": self._drop_edges(
                    tables.device_events, _fact_of_device, kept.edge_days
                ),
                "quarantine": self._drop_old(
                    tables.quarantine, lambda row: row.recorded_at, kept.event_days
                ),
            }

    def _drop_partitions(self, tables: Tables, days: int) -> int:
        oldest_kept = self._engine.now().date() - timedelta(days=days)
        expired = {day for day in tables.partitions if day < oldest_kept}
        tables.partitions -= expired
        for key, event in tables.events.items():
            if event.recorded_at.date() in expired:
                tables.events.drop(key)
        return len(expired)

    def _drop_cycles(self, tables: Tables, days: int) -> int:
        before = self._engine.now() - timedelta(days=days)
        old = [cycle.row for key, cycle in tables.poll_cycles.items() if key.slot_start_at < before]
        over = [row for row in old if _is_over(row)]
        for row in over:
            tables.poll_cycles.drop(row.key)
            del tables.cycle_ids[row.key.workspace_id, row.cycle_id]
        return len(over)

    def _drop_old(self, table: Table[K, T], time_of: Callable[[T], datetime], days: int) -> int:
        before = self._engine.now() - timedelta(days=days)
        old = [key for key, row in table.items() if time_of(row) < before]
        for key in old:
            table.drop(key)
        return len(old)

    def _drop_edges(
        self, table: Table[K, E], fact_of: Callable[[E], tuple[object, ...]], days: int
    ) -> int:
        """Drop old edges, but of each fact the newest one."""
        before = self._engine.now() - timedelta(days=days)
        old = sorted((key, row) for key, row in table.items() if row.at < before)
        newest = {fact_of(row): key for key, row in old}
        for key, row in old:
            if newest[fact_of(row)] != key:
                table.drop(key)
        return len(old) - len(newest)


def _fact_of_connection(edge: Edge) -> tuple[object, ...]:
    return edge.workspace_id, edge.provider_id, edge.kind.partition("_")[0]


def _fact_of_device(edge: DeviceEdge) -> tuple[object, ...]:
    is_statement = edge.kind in {"named", "left_out", "error"}
    return edge.workspace_id, edge.device_id, is_statement


def _is_over(row: CycleRow) -> bool:
    return row.outcome not in ("requested", "running")
