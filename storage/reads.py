"""Queries: each answer from one read-only snapshot of the database, on any shard.

Owns the way from stored rows to HealthFacts. The health rule is domain.health; SQL only compares with its cutoffs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from api.ports import HealthPage
from domain.health import CollectorRecord, ConnectionRecord, HealthFacts, State, cutoffs, resolve_thresholds
from domain.model import Device
from storage.queries import sql
from storage.rows import (
    to_connection,
    to_cycle,
    to_device,
    to_document,
    to_event,
    to_link,
    to_override,
    to_rejection,
    to_snapshot,
    to_workspace,
)
from storage.unit_steps import columns
from storage.upkeep import count_days_ahead, read_partitions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.ports import CycleRow, EventPosition, EventRow, HealthQuery, RejectionRow, SnapshotRow
    from domain.model import CycleKey, ProviderConnection, Workspace
    from storage.gateway import Connection, Database

_INHERIT = -1.0  # stands for "no override" in SQL, where null equals nothing
_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresReads:
    """api.ports.Reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_health(self, workspaces: frozenset[str] | None, query: HealthQuery) -> HealthPage:
        allowed = None if workspaces is None else sorted(workspaces)
        return await self._database.run(lambda connection: _load_health(connection, allowed, query), readonly=True)

    async def list_snapshots(
        self, workspace_id: str, *, after: str | None, limit: int
    ) -> tuple[datetime, list[SnapshotRow]]:
        async def work(connection: Connection) -> tuple[datetime, list[SnapshotRow]]:
            now = await connection.fetchval(sql("read_clock"))
            rows = await connection.fetch(sql("list_snapshots"), workspace_id, after, limit)
            return now, [to_snapshot(row) for row in rows]

        return await self._database.run(work, readonly=True)

    async def get_snapshot(self, workspace_id: str, device_id: str) -> tuple[datetime, SnapshotRow] | None:
        async def work(connection: Connection) -> tuple[datetime, SnapshotRow] | None:
            now = await connection.fetchval(sql("read_clock"))
            row = await connection.fetchrow(sql("get_snapshot"), workspace_id, device_id)
            return None if row is None else (now, to_snapshot(row))

        return await self._database.run(work, readonly=True)

    async def list_events(
        self, workspace_id: str, device_id: str, *, before: EventPosition | None, limit: int
    ) -> list[EventRow]:
        position = before or (None, None)
        return [to_event(row) for row in await self._fetch("list_events", workspace_id, device_id, *position, limit)]

    async def list_cycles(self, workspace_id: str, *, before: CycleKey | None, limit: int) -> list[CycleRow]:
        position = (None, None, None) if before is None else before[1:]
        return [to_cycle(row) for row in await self._fetch("list_cycles", workspace_id, *position, limit)]

    async def get_cycle(self, workspace_id: str, cycle_id: str) -> CycleRow | None:
        rows = await self._fetch("get_cycle", workspace_id, cycle_id)
        return to_cycle(rows[0]) if rows else None

    async def list_rejections(
        self, workspace_id: str, *, before: int | None, reason: str | None, limit: int
    ) -> list[RejectionRow]:
        rows = await self._fetch("list_rejections", workspace_id, before, reason, limit)
        return [to_rejection(row) for row in rows]

    async def load_shards(self) -> list[Mapping[str, Any]]:
        rows = await self._fetch("load_shards")
        return [{name: _plain(name, value) for name, value in row.items()} for row in rows]

    async def check_ready(self) -> int:
        today, names = await self._database.run(read_partitions, in_transaction=False)
        return count_days_ahead(today, names)

    async def _fetch(self, name: str, *args: Any) -> list[Any]:
        return await self._database.run(lambda connection: connection.fetch(sql(name), *args), readonly=True)


# --- Health -----------------------------------------------------------------------------------------------------------


async def _load_health(connection: Connection, allowed: list[str] | None, query: HealthQuery) -> HealthPage:
    """1. The instant. 2. Policies and threshold classes. 3. Counts and page. 4. What the page's verdicts need."""
    now: datetime = query.now or await connection.fetchval(sql("read_clock"))
    workspaces = {
        row["workspace_id"]: to_workspace(row) for row in await connection.fetch(sql("list_policies"), allowed)
    }
    links = {
        (row["workspace_id"], row["provider_id"]): to_connection(row)
        for row in await connection.fetch(sql("list_connections"), allowed)
    }
    classes = await connection.fetch(sql("list_threshold_classes"), allowed)
    if not classes:
        return HealthPage(now, dict.fromkeys(State, 0), [])
    arrays = columns([_class_row(row, workspaces, links, now) for row in classes])
    rows = await connection.fetch(sql("page_health"), *arrays, *_position(query), allowed)
    counts = dict.fromkeys(State, 0) | {State(name): n for name, n in orjson.loads(rows[0]["counts"]).items()}
    found = [row for row in rows if row["device_id"] is not None]
    records = await _load_links(connection, found)
    collectors = await _load_collectors(connection, found)
    return HealthPage(now, counts, [_facts(row, workspaces, links, records, collectors) for row in found])


def _class_row(
    row: Any,
    workspaces: Mapping[str, Workspace],
    links: Mapping[tuple[str, str], ProviderConnection],
    now: datetime,
) -> tuple[Any, ...]:
    """A class of devices with equal thresholds, and its cutoffs, as page_health takes it."""
    workspace_id, provider_id = row["workspace_id"], row["provider_id"]
    override = to_override(row)
    anyone = Device(workspace_id, "", provider_id, "", "", "", _ANY_TIME, None, override)
    thresholds = resolve_thresholds(workspaces[workspace_id], links[workspace_id, provider_id], anyone)
    own = (override.delayed_after_seconds, override.stale_after_seconds, override.grace_seconds)
    return (workspace_id, provider_id, *(_INHERIT if v is None else v for v in own), *cutoffs(thresholds, now))


def _position(query: HealthQuery) -> tuple[Any, ...]:
    """States, order and keyset of page_health. By device the first part of the key is the same for all."""
    states = None if query.states is None else [state.value for state in query.states]
    silence = query.order == "silence"
    after = query.after
    if after is None:
        return (states, silence, None, None, None, query.limit)
    return (states, silence, after.since if silence else None, after.workspace_id, after.device_id, query.limit)


async def _load_links(connection: Connection, found: Sequence[Any]) -> dict[tuple[str, str], ConnectionRecord]:
    keys = sorted({(row["workspace_id"], row["provider_id"]) for row in found})
    if not keys:
        return {}
    rows = await connection.fetch(sql("load_links"), *columns(keys))
    return {(row["workspace_id"], row["provider_id"]): to_link(row) for row in rows}


async def _load_collectors(connection: Connection, found: Sequence[Any]) -> dict[str, CollectorRecord]:
    ids = sorted({row["workspace_id"] for row in found})
    rows = await connection.fetch(sql("load_collectors"), ids) if ids else []
    return {workspace_id: CollectorRecord(*facts) for workspace_id, *facts in rows}


def _facts(
    row: Any,
    workspaces: Mapping[str, Workspace],
    links: Mapping[tuple[str, str], ProviderConnection],
    records: Mapping[tuple[str, str], ConnectionRecord],
    collectors: Mapping[str, CollectorRecord],
) -> HealthFacts:
    device = to_device(row)
    link = (device.workspace_id, device.provider_id)
    return HealthFacts(
        workspace=workspaces[device.workspace_id],
        connection=links[link],
        device=device,
        link=records.get(link, ConnectionRecord()),
        collector=collectors.get(device.workspace_id, CollectorRecord()),
        version=row["version"],
        document=to_document(row["document"]),
        last_update_received_at=row["last_update_received_at"],
        last_observed_at=row["last_observed_at"],
        last_changed_at=row["last_changed_at"],
        last_confirmed_at=row["last_confirmed_at"],
        last_rejected_at=row["last_rejected_at"],
        last_rejection_reason=row["last_rejection_reason"],
    )


def _plain(name: str, value: Any) -> Any:
    """JSON-able: instants as RFC 3339, statistics as the mapping that was stored."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return orjson.loads(value) if name == "statistics" and value is not None else value
