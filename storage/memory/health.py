"""Health facts, on the twin: which devices, in which order, and their facts.

The rule is domain.health.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from domain.health_facts import CollectorRecord, HealthFacts
from domain.health_state import State, cutoffs, state_of
from domain.model import CycleOutcome
from domain.resource import workspace_resource
from domain.thresholds import resolve_thresholds
from ports.reads import HealthPage
from storage.memory.tables import DeviceState, LeaseRow, Snapshot
from storage.rows import to_connection_record, to_document
from storage.unit_rows import ConnectionRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from domain.model import Device, ProviderConnection, Workspace
    from ports.reads import HealthQuery
    from storage.memory.tables import Tables

_GOOD = (CycleOutcome.COMPLETED, CycleOutcome.PARTIAL)


class _Judged(NamedTuple):
    """One active device with its state.

    `since` is when it was last heard, or when it was activated if it was never heard.
    """

    workspace: Workspace
    connection: ProviderConnection
    device: Device
    stored: DeviceState
    state: State
    since: datetime


def page_health(
    tables: Tables, workspaces: frozenset[str] | None, query: HealthQuery, now: datetime
) -> HealthPage:
    """Return the counts of all devices by state, and the facts of the page."""
    judged = list(_judge_all(tables, workspaces, now))
    counts = dict.fromkeys(State, 0) | Counter(item.state for item in judged)
    wanted = sorted(
        (item for item in judged if _is_wanted(item, query)), key=lambda item: _rank(item, query)
    )
    page = wanted[: query.limit]
    collectors = {
        name: _collector(tables, name) for name in {item.device.workspace_id for item in page}
    }
    return HealthPage(
        now, counts, [_facts(tables, item, collectors[item.device.workspace_id]) for item in page]
    )


def _judge_all(
    tables: Tables, workspaces: frozenset[str] | None, now: datetime
) -> Iterator[_Judged]:
    for (workspace_id,), workspace in tables.workspaces.items():
        if not workspace.active or (workspaces is not None and workspace_id not in workspaces):
            continue
        for key, device in tables.devices.of(workspace_id).items():
            connection = tables.providers.get((workspace_id, device.provider_id))
            if device.retired_at is not None or connection is None:
                continue
            stored = tables.device_state.get(key) or DeviceState()
            heard_at = stored.last_update_received_at
            limits = cutoffs(resolve_thresholds(workspace, connection, device), now)
            state = state_of(heard_at, device.activated_at, limits)
            yield _Judged(
                workspace, connection, device, stored, state, heard_at or device.activated_at
            )


def _is_wanted(item: _Judged, query: HealthQuery) -> bool:
    if query.states is not None and item.state not in query.states:
        return False
    if query.after is None:
        return True
    since, workspace_id, device_id = query.after
    position = (
        (since, workspace_id, device_id) if query.order == "silence" else (workspace_id, device_id)
    )
    return _rank(item, query) > position


def _rank(item: _Judged, query: HealthQuery) -> tuple[datetime | str, ...]:
    """Return the sort key: silent longest first, or in the order of devices."""
    key = (item.device.workspace_id, item.device.device_id)
    return (item.since, *key) if query.order == "silence" else key


def _facts(tables: Tables, item: _Judged, collector: CollectorRecord) -> HealthFacts:
    device, stored = item.device, item.stored
    snapshot = tables.snapshots.get((device.workspace_id, device.device_id)) or Snapshot()
    key = (device.workspace_id, device.provider_id)
    stored_connection = tables.connection_state.get(key) or ConnectionRow(*key)
    return HealthFacts(
        workspace=item.workspace,
        connection=item.connection,
        device=device,
        connection_record=to_connection_record(stored_connection._asdict()),
        collector=collector,
        version=stored.version,
        document=to_document(snapshot.document),
        last_update_received_at=stored.last_update_received_at,
        last_observed_at=stored.last_observed_at,
        last_changed_at=stored.last_changed_at,
        last_confirmed_at=stored.last_confirmed_at,
        last_rejected_at=stored.last_rejected_at,
        last_rejection_reason=stored.last_rejection_reason,
    )


def _collector(tables: Tables, workspace_id: str) -> CollectorRecord:
    cycles = [
        cycle.row for _, cycle in sorted(tables.poll_cycles.of(workspace_id).items(), reverse=True)
    ]
    good = next((row for row in cycles if row.outcome in _GOOD), None)
    newest = next((row for row in cycles if row.started_at is not None), None)
    owner = (tables.leases.get((workspace_resource(workspace_id),)) or LeaseRow()).owner
    heartbeat = tables.heartbeats.get((owner.shard_id,)) if owner else None
    if heartbeat is not None and owner is not None and heartbeat.epoch != owner.epoch:
        heartbeat = None
    vital = heartbeat.statistics if heartbeat else {}
    waits = (
        vital.get("oldest_waiting_seconds"),
        vital.get("deferred_seconds", {}).get(workspace_id),
    )
    waiting = max((wait for wait in waits if wait is not None), default=None)
    return CollectorRecord(
        good and good.ended_at,
        newest and newest.started_at,
        None if newest is None else str(newest.outcome),
        owner and owner.shard_id,
        heartbeat and heartbeat.expires_at,
        None if waiting is None else float(waiting),
    )
