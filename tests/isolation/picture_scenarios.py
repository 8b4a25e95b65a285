"""The scenarios of what pictures show: a device's day, its assignments, the plan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.device_day import DayQuery, DeviceDayRow
from domain.trends import TrendQuery
from tests.isolation.fleets import BASE, OURS, Harness, ago
from tests.isolation.indicator_scenarios import EDGES
from tests.isolation.scenario import drives

DAY = DayQuery(ago(12), BASE + timedelta(hours=2), 24)
TODAY = DayQuery(ago(2), BASE + timedelta(hours=4), 24)
LATER = DayQuery(BASE + timedelta(hours=4), BASE + timedelta(hours=5), 24)
FORGOTTEN = (f"DELETE FROM events WHERE workspace_id = '{OURS}'",)
NO_ASSIGNMENTS = (f"DELETE FROM assignments WHERE workspace_id = '{OURS}'",)


@drives("load_device_day", prepared=EDGES)
async def load_our_days(harness: Harness) -> Any:
    """Leave out the times of commits, which are others in each database."""
    reads = harness.stores.reads
    found = []
    for name in ("bus-1", "bus-2", "bus-8"):
        for query in (DAY, TODAY):
            day = await reads.load_device_day(OURS, name, query)
            found.append(None if day is None else _without_commits(day))
    later = await reads.load_device_day(OURS, "bus-1", LATER)
    newest = await reads.list_events(OURS, "bus-1", before=None, limit=1)
    assert later is not None
    return found, later.before_at == newest[0].recorded_at


def _without_commits(day: DeviceDayRow) -> Any:
    return (
        day.cycles,
        [each.updates for each in day.receipts],
        [(each.reason, each.signal, each.occurrences) for each in day.refusals],
        day.connection_edges,
        [(edge.kind, edge.detail) for edge in day.device_edges],
        day.signals,
    )


async def _find_behind_every_value(harness: Harness) -> Any:
    reads = harness.stores.reads
    found = []
    for name in ("bus-1", "bus-2"):
        snapshot = await reads.get_snapshot(OURS, name)
        assert snapshot is not None
        for signal, held in sorted(snapshot[1].document.items()):
            event = await reads.find_event_behind(OURS, name, signal, held)
            found.append(event and (event.sequence, event.vehicle_id, event.readings))
    return found


@drives("find_event_behind", prepared=NO_ASSIGNMENTS)
async def find_the_events_behind_our_values(harness: Harness) -> Any:
    return await _find_behind_every_value(harness)


@drives("find_event_behind", prepared=FORGOTTEN)
async def find_no_event_behind_our_values(harness: Harness) -> Any:
    return await _find_behind_every_value(harness)


@drives("list_device_assignments")
async def list_where_devices_have_been(harness: Harness) -> Any:
    load = harness.stores.reads.list_assignments
    return [await load(OURS, name, limit=9) for name in ("bus-1", "bus-8", "bus-9")]


@drives("list_starts")
async def list_our_starts(harness: Harness) -> Any:
    load = harness.stores.reads.list_starts
    return await load(frozenset([OURS])), await load(frozenset(["nowhere"]))


OURS_ARE_EARLIER = (
    f"UPDATE events SET recorded_at = recorded_at - interval '5 min' WHERE workspace_id = '{OURS}'",
)
OURS_SAY_LITTLE = (
    f"""
    UPDATE events SET signals = '{{}}', recorded_at = recorded_at + interval '30 s'
    WHERE workspace_id = '{OURS}'
    """,
)


async def _load_trends(harness: Harness) -> Any:
    """Leave out the times of arrival, which the run makes."""
    spans = [(ago(12), BASE), (BASE, BASE + timedelta(hours=5))]
    query = TrendQuery(["bus-1", "bus-2", "bus-8"], spans, "soc_percent")
    points = await harness.stores.reads.load_trends(OURS, query)
    return sorted((point.device_id, point.place, point.value) for point in points)


@drives("load_trends", prepared=OURS_ARE_EARLIER)
async def load_our_trends(harness: Harness) -> Any:
    return await _load_trends(harness)


@drives("load_trends", prepared=OURS_SAY_LITTLE)
async def load_our_trends_without_values(harness: Harness) -> Any:
    return await _load_trends(harness)


@drives("list_connection_states", prepared=EDGES)
async def list_our_connection_states(harness: Harness) -> Any:
    return await harness.stores.reads.list_connection_states(OURS)
