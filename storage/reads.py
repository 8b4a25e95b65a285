"""Queries: each answer from one snapshot of the database, on any shard. Health is in health.py."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from domain.cutover import ReadOwner
from domain.held import to_instant
from domain.position import HALVES, POSITION
from ports.reads import HealthQuery, WorkspaceInUse
from runtime.instants import format_instant
from storage.counted_pages import CountedPages
from storage.device_day import load_device_day
from storage.health import HealthStatements
from storage.queries import bound, sql
from storage.rows import (
    to_assignment,
    to_cycle,
    to_event,
    to_fleet,
    to_planned,
    to_rejection,
    to_snapshot,
)
from storage.trends import list_connection_states, load_trends
from storage.upkeep import count_days_ahead, read_partitions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.assignments import DeviceAssignment
    from domain.cycles import CycleKey
    from domain.device_day import DayQuery, DeviceDayRow
    from domain.health_state import State
    from domain.held import Held
    from domain.poll_plan import PlannedWorkspace
    from domain.trends import ConnectionStateRow, TrendPoint, TrendQuery
    from ports.reads import (
        CycleRow,
        EventPosition,
        EventRow,
        FleetFigures,
        FleetQuery,
        FleetRow,
        HealthPage,
        RejectionRow,
        SnapshotRow,
    )
    from storage.gateway import Connection, Database

# An update may be stored under a time of the database that is earlier than its arrival here.
_CLOCKS_DIFFER = timedelta(seconds=5)


class PostgresReads:
    """ports.reads.Reads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._health = HealthStatements(database)
        self._pages = CountedPages(self._health)

    async def load_health(
        self, workspaces: frozenset[str] | None, query: HealthQuery
    ) -> HealthPage:
        allowed = None if workspaces is None else sorted(workspaces)
        return await self._pages.load_page(allowed, query)

    async def list_in_use(self, workspaces: frozenset[str] | None) -> list[WorkspaceInUse]:
        allowed = None if workspaces is None else sorted(workspaces)
        rows = await self._fetch("list_in_use", allowed)
        return [WorkspaceInUse(one, active, ReadOwner(owner)) for one, active, owner in rows]

    async def count_states(
        self, workspaces: Sequence[str] | None, now: datetime | None
    ) -> tuple[datetime, Mapping[str, Mapping[State, int]]]:
        allowed = None if workspaces is None else list(workspaces)
        query = HealthQuery(now=now, with_inactive=True)
        found = await self._health.count(allowed, query, by_workspace=True)
        return found.counted_at, found.by_fleet

    async def measure_fleet(
        self, workspaces: Sequence[str], *, age_bounds: Sequence[float], by_workspace: bool
    ) -> FleetFigures:
        return await self._health.measure_fleet(
            list(workspaces), age_bounds=age_bounds, by_workspace=by_workspace
        )

    async def list_snapshots(
        self, workspace_id: str, *, after: str | None, limit: int
    ) -> tuple[datetime, list[SnapshotRow]]:
        rows = await self._fetch("list_snapshots", workspace_id, after, limit)
        found = [to_snapshot(row) for row in rows if row["device_id"] is not None]
        return rows[0]["read_at"], found

    async def get_snapshot(
        self, workspace_id: str, device_id: str
    ) -> tuple[datetime, SnapshotRow] | None:
        rows = await self._fetch("get_snapshot", workspace_id, device_id)
        return (rows[0]["read_at"], to_snapshot(rows[0])) if rows else None

    async def load_fleet(self, workspace_id: str, query: FleetQuery) -> FleetRow | None:
        async def work(connection: Connection) -> tuple[Any, list[Any], list[Any]] | None:
            found = await connection.fetchrow(sql("get_fleet"), workspace_id)
            if found is None:
                return None
            links = await connection.fetch(sql("list_fleet_connections"), workspace_id)
            devices = await connection.fetch(sql("list_fleet_devices"), workspace_id, *query)
            return found, links, devices

        rows = await self._database.run(work, readonly=True)
        return None if rows is None else to_fleet(*rows)

    async def list_events(
        self, workspace_id: str, device_id: str, *, before: EventPosition | None, limit: int
    ) -> list[EventRow]:
        rows = await self._fetch_bound(
            "list_events",
            workspace_id=workspace_id,
            device_id=device_id,
            before_recorded_at=before and before.recorded_at,
            before_sequence=before and before.sequence,
            limit=limit,
        )
        return [to_event(row) for row in rows]

    async def find_event_behind(
        self, workspace_id: str, device_id: str, signal: str, held: Held
    ) -> EventRow | None:
        rows = await self._fetch_bound(
            "find_event_behind",
            workspace_id=workspace_id,
            device_id=device_id,
            since=to_instant(held.arrival) - _CLOCKS_DIFFER,
            signal=POSITION if signal in HALVES else signal,
            observed_at=held.observed_at,
        )
        return to_event(rows[0]) if rows else None

    async def load_device_day(
        self, workspace_id: str, device_id: str, query: DayQuery
    ) -> DeviceDayRow | None:
        return await load_device_day(self._database, workspace_id, device_id, query)

    async def list_assignments(
        self, workspace_id: str, device_id: str, *, limit: int
    ) -> list[DeviceAssignment]:
        rows = await self._fetch("list_device_assignments", workspace_id, device_id, limit)
        return [to_assignment(row) for row in rows]

    async def list_cycles(
        self, workspace_id: str, *, before: CycleKey | None, limit: int
    ) -> list[CycleRow]:
        rows = await self._fetch_bound(
            "list_cycles",
            workspace_id=workspace_id,
            before_slot_start_at=before and before.slot_start_at,
            before_trigger=before and before.trigger,
            before_attempt=before and before.attempt,
            limit=limit,
        )
        return [to_cycle(row) for row in rows]

    async def get_cycle(self, workspace_id: str, cycle_id: str) -> CycleRow | None:
        rows = await self._fetch("get_cycle", workspace_id, cycle_id)
        return to_cycle(rows[0]) if rows else None

    async def list_rejections(
        self, workspace_id: str, *, before: int | None, reason: str | None, limit: int
    ) -> list[RejectionRow]:
        rows = await self._fetch("list_rejections", workspace_id, before, reason, limit)
        return [to_rejection(row) for row in rows]

    async def list_starts(self, workspaces: frozenset[str] | None) -> list[PlannedWorkspace]:
        allowed = None if workspaces is None else sorted(workspaces)
        return [to_planned(row) for row in await self._fetch("list_starts", allowed)]

    async def load_shards(self) -> list[Mapping[str, Any]]:
        rows = await self._fetch("load_shards")
        return [{name: _plain(name, value) for name, value in row.items()} for row in rows]

    async def load_trends(self, workspace_id: str, query: TrendQuery) -> list[TrendPoint]:
        return await load_trends(self._database, workspace_id, query)

    async def list_connection_states(self, workspace_id: str) -> list[ConnectionStateRow]:
        return await list_connection_states(self._database, workspace_id)

    async def check_ready(self) -> int:
        today, names = await self._database.run(read_partitions, in_transaction=False)
        return count_days_ahead(today, names)

    async def _fetch(self, name: str, *args: Any) -> list[Any]:
        return await self._run(name, sql(name), *args)

    async def _fetch_bound(self, name: str, /, **values: Any) -> list[Any]:
        return await self._run(name, *bound(name, **values))

    async def _run(self, name: str, statement: str, *args: Any) -> list[Any]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(statement, *args)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        return await self._database.run(work, name=name, in_transaction=False)


def _plain(name: str, value: Any) -> Any:
    """JSON-able: instants as RFC 3339, statistics as the mapping that was stored."""
    if isinstance(value, datetime):
        return format_instant(value)
    return orjson.loads(value) if name == "statistics" and value is not None else value
