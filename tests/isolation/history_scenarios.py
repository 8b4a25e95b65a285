"""The scenarios of what is kept of the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from domain.changes import ChangeKind
from domain.registry import DeviceDraft
from ports.changes import AuditQuery
from ports.sessions import VitalSigns
from ports.upkeep import Retention
from tests.isolation.fleets import A_MONTH_AGO, DAY_SECONDS, OURS, SESSION, Harness, ago, provider
from tests.isolation.scenario import drives


@drives("append_changes", "find_changes_as_of")
async def read_what_was_changed(harness: Harness) -> Any:
    await harness.put_workspace(OURS, name="changed")
    await harness.stores.registry.put_provider(provider(OURS, "live", active=False))
    find, later = harness.stores.changes.find_as_of, datetime.now(UTC) + timedelta(hours=1)
    found = [await find(OURS, kind, later) for kind in (ChangeKind.WORKSPACE, ChangeKind.PROVIDER)]
    return [entry._replace(change_id=0) for entries in found for entry in entries]


@drives("append_whole", "list_changes")
async def audit_an_import(harness: Harness) -> Any:
    registry, changes = harness.stores.registry, harness.stores.changes
    (stored,) = await registry.list_devices(OURS, include_retired=False, after=None, limit=1)
    draft = DeviceDraft(
        device_id=stored.device_id,
        provider_id=stored.provider_id,
        external_id=stored.external_id,
        vehicle_id=stored.vehicle_id,
        vehicle_name="changed",
    )
    await registry.put_devices(OURS, [draft], digest="0" * 64)
    whole = await changes.list_changes(AuditQuery(frozenset({OURS})))
    part_of = next(each.change.change_id for each in whole if each.change.kind == "import")
    parts = await changes.list_changes(AuditQuery(frozenset({OURS}), part_of=part_of))
    return [
        (each.change.workspace_id, each.change.kind, each.change.subject)
        for each in (*whole, *parts)
    ]


@drives("list_changes")
async def audit_of_a_limited_caller(harness: Harness) -> Any:
    """Such a caller sees keys too, so the statement gets the workspaces as a list."""
    await harness.put_workspace(OURS, name="changed")
    listed = await harness.stores.changes.list_changes(
        AuditQuery(frozenset({OURS}), with_keys=True)
    )
    return [(each.change.workspace_id, each.change.kind) for each in listed]


# --- Retention: only rows of OURS are old ---------------------------------------------------------

OLD_EVENTS = (
    "CREATE TABLE IF NOT EXISTS events_20200101 PARTITION OF events"
    " FOR VALUES FROM ('2020-01-01T00:00Z') TO ('2020-01-02T00:00Z')",
    "UPDATE events SET recorded_at = '2020-01-01T12:00Z' WHERE workspace_id = 'ours'",
)


@drives("checkpoint_events", prepared=OLD_EVENTS)
async def drop_events(harness: Harness) -> Any:
    return await harness.stores.upkeep.drop_expired(Retention())


AHEAD = "UPDATE event_checkpoints SET version = 1000 WHERE workspace_id = 'ours'"


@drives("checkpoint_events", prepared=(*OLD_EVENTS, AHEAD))
async def drop_events_that_our_checkpoint_has(harness: Harness) -> Any:
    return await harness.stores.upkeep.drop_expired(Retention())


OLD_CYCLES = f"""
    UPDATE poll_cycles SET slot_start_at = '{ago(A_MONTH_AGO - 1).isoformat()}'
    WHERE workspace_id = 'ours' AND outcome = 'completed'
"""
OLD_REFUSALS = f"""
    UPDATE rejections SET recorded_at = '{ago(A_MONTH_AGO - 1).isoformat()}', last_at = NULL
    WHERE workspace_id = 'ours'
"""


@drives("drop_old_poll_cycles", "drop_old_rejections", prepared=(OLD_CYCLES, OLD_REFUSALS))
async def turn_what_is_old_into_spans(harness: Harness) -> Any:
    return await harness.stores.upkeep.drop_expired(Retention())


OLD_EDGES = (
    "UPDATE device_events SET at = '2020-01-01T00:00Z'",
    "UPDATE connection_events SET at = '2020-01-01T00:00Z'",
    "UPDATE backlog_events SET at = '2020-01-01T00:00Z'",
)


@drives(
    *("drop_old_device_events", "drop_old_connection_events", "drop_old_backlog_events"),
    prepared=OLD_EDGES,
)
async def keep_the_newest_edge_of_each_fact(harness: Harness) -> Any:
    return await harness.stores.upkeep.drop_expired(Retention())


@drives("beat")
async def beat_with_a_backlog_of_our_own(harness: Harness) -> Any:
    waiting = VitalSigns(deferred_seconds={OURS: 40.0})
    return await harness.stores.sessions.beat(SESSION, ttl_seconds=DAY_SECONDS, statistics=waiting)


BEGUN = "UPDATE backlog_events SET kind = 'backlog_begun' WHERE workspace_id = 'ours'"


@drives("end_backlogs", prepared=(BEGUN,))
async def end_a_session_with_a_backlog_of_our_own(harness: Harness) -> Any:
    return await harness.stores.sessions.end_session(SESSION)
