"""A database of release 0.1.0, written by that release, is migrated and read by this one.

release_0_1_0.sql has its rows. Bus 1 sent four updates, the last with half a position. Bus 2 sent
one and was retired. Bus 3 sent one, was retired, was activated again and sent another. Bus 4 sent
only what was refused. A truck sent one over a connection that reports every hour.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest
import trio

from domain.changes import (
    ChangeKind,
    device_change,
    policy_change,
    provider_change,
    workspace_change,
)
from domain.health_state import State
from domain.resource import workspace_resource
from ports.reads import HealthQuery
from storage.changes import PostgresChangeHistory
from storage.gateway import Database, open_bridge
from storage.leases import PostgresLeaseStore
from storage.migrations import migrate, migrate_blocking
from storage.reads import PostgresReads
from storage.registry.store import PostgresRegistry
from storage.sessions import PostgresSessionStore
from tests.conftest import execute, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ROWS = Path(__file__).with_name("release_0_1_0.sql")
# The old shard's last heartbeat; the rows leave it out, for its statistics are long.
HEARTBEAT = """
INSERT INTO heartbeats (shard_id, epoch, expires_at)
VALUES ('shard-1', 1, '2026-11-28 20:02:45Z')
"""
PARTITION = """
CREATE TABLE events_20261128 PARTITION OF events
FOR VALUES FROM ('2026-11-28 00:00Z') TO ('2026-11-29 00:00Z')
"""


@pytest.fixture
async def upgraded(empty_dsn: str) -> str:
    """The DSN of the migrated database."""

    def fill() -> None:
        migrate_blocking(empty_dsn, "0004")
        execute(empty_dsn, PARTITION, ROWS.read_text(), HEARTBEAT)

    await trio.to_thread.run_sync(fill)
    await migrate(empty_dsn)
    return empty_dsn


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Database]:
    async with open_bridge():
        database = Database(dsn)
        try:
            yield database
        finally:
            await database.aclose()


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-28T{clock}").replace(tzinfo=UTC)


async def test_each_device_gets_one_assignment_for_its_active_span(upgraded: str) -> None:
    rows = await trio.to_thread.run_sync(
        fetch,
        upgraded,
        "SELECT a.*, d.assignment = a.assignment AS present, d.activated_at, d.retired_at "
        "FROM assignments a JOIN devices d USING (workspace_id, device_id) ORDER BY device_id",
    )
    told = {row["device_id"]: (row["assignment"], row["vehicle_id"]) for row in rows}
    assert told == {
        "bus-1": (1, "tram-1"),
        "bus-2": (1, "tram-2"),
        "bus-3": (1, "tram-3"),
        "bus-4": (1, "tram-4"),
        "truck-1": (1, "lorry-1"),
    }
    assert all(row["present"] for row in rows)
    assert all(row["effective_at"] == row["entered_at"] == row["activated_at"] for row in rows)
    assert all(row["ended_at"] == row["retired_at"] for row in rows)
    assert [row["device_id"] for row in rows if row["ended_at"]] == ["bus-2"]


async def test_devices_come_out_as_they_were(upgraded: str) -> None:
    async with opened(upgraded) as database:
        devices = await PostgresRegistry(database).list_devices(
            "harbour", include_retired=True, after=None, limit=10
        )
    found = {item.device_id: item for item in devices}
    assert found["bus-2"].retired_at == at("20:02:20.547264")
    assert found["bus-3"].activated_at == at("20:02:20.613281")
    assert found["truck-1"].external_id == "VIN00000000000001"
    assert {device.tags for device in devices} == {()}


async def test_the_history_of_changes_begins_with_what_is_configured(upgraded: str) -> None:
    async with opened(upgraded) as database:
        registry, history = PostgresRegistry(database), PostgresChangeHistory(database)
        workspace = await registry.get_workspace("harbour")
        providers = await registry.list_providers("harbour", after=None, limit=None)
        devices = await registry.list_devices(
            "harbour", include_retired=True, after=None, limit=100
        )
        assert workspace is not None
        described = {
            ChangeKind.WORKSPACE: [workspace_change(None, workspace)],
            ChangeKind.POLICY: [policy_change(None, workspace)],
            ChangeKind.PROVIDER: [provider_change(None, one) for one in providers],
            ChangeKind.DEVICE: [device_change(None, one) for one in devices],
        }
        for kind, changes in described.items():
            found = await history.find_as_of("harbour", kind, datetime.now(UTC))
            assert {entry.who for entry in found} == {"upgrade"}
            pairs = zip(found, changes, strict=True)
            assert all(
                _read(one.after).items() <= _read(entry.after).items() for entry, one in pairs
            )
            assert await history.find_as_of("harbour", kind, at("20:10:00")) == []


# What there was no member for when the history began, with the value that all have since then.
LATER: dict[str, Any] = {
    "archived_at": None,
    "period_is_documented": False,
    "simulated": False,
    "time_zone": "UTC",
    "tags": [],
    "start_offset_seconds": None,
}


def _read(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with its instants as such."""
    return {
        name: datetime.fromisoformat(value) if name.endswith("_at") and value else value
        for name, value in {**LATER, **json_of(document)}.items()
    }


def json_of(document: Mapping[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", orjson.loads(orjson.dumps(document)))


async def test_snapshots_keep_values_times_and_versions(upgraded: str) -> None:
    async with opened(upgraded) as database:
        _, rows = await PostgresReads(database).list_snapshots("harbour", after=None, limit=10)
    found = {row.device.device_id: row for row in rows}
    assert {name: row.version for name, row in found.items()} == {
        "bus-1": 4,
        "bus-3": 2,
        "bus-4": 0,
        "truck-1": 1,
    }
    bus = found["bus-1"]
    assert bus.last_update_received_at == at("20:02:20.516628")
    values = {name: (held.value, held.observed_at) for name, held in bus.document.items()}
    assert values == {
        "charging": (False, at("19:57:20")),
        "odometer_km": (1000.5, at("19:57:20")),
        "soc_percent": (79, at("19:59:00")),
        "speed_kmh": (30, at("19:59:00")),
    }, "halves of two different positions are no position"
    assert found["bus-4"].document == {}


async def test_events_belong_to_the_first_assignment_and_keep_readings(upgraded: str) -> None:
    async with opened(upgraded) as database:
        events = await PostgresReads(database).list_events("harbour", "bus-1", before=None, limit=9)
    assert [event.sequence for event in events] == [4, 3, 2, 1]
    assert events[1].readings == {
        "latitude_deg": (52.1, at("20:00:40")),
        "longitude_deg": (5.12, at("20:00:40")),
    }
    assert events[3].readings["soc_percent"] == (80, at("19:57:20"))
    rows = await trio.to_thread.run_sync(
        fetch, upgraded, "SELECT DISTINCT assignment FROM events WHERE workspace_id = 'harbour'"
    )
    assert [row["assignment"] for row in rows] == [1]


async def test_health_and_refusals_are_read_as_before(upgraded: str) -> None:
    query = HealthQuery(now=at("20:02:30"))
    async with opened(upgraded) as database:
        reads = PostgresReads(database)
        page = await reads.load_health(frozenset(["harbour"]), query)
        refusals = await reads.list_rejections("harbour", before=None, reason=None, limit=10)
    assert (page.counts[State.HEALTHY], page.counts[State.AWAITING_FIRST_DATA]) == (3, 1)
    assert {row.device.device_id: row.last_rejection_reason for row in page.rows} == {
        "bus-1": "future_timestamp",
        "bus-3": None,
        "bus-4": "invalid",
        "truck-1": None,
    }
    assert [(row.external_id, row.outcome, row.reason) for row in refusals] == [
        ("x-1", "stale", None),
        ("x-4", "rejected", "invalid"),
        ("x-1", "rejected", "future_timestamp"),
        ("x-9", "rejected", "unknown_device"),
        ("x-9", "rejected", "unknown_device"),
    ]


async def test_a_shard_of_this_release_takes_the_workspace_up(upgraded: str) -> None:
    """The old shard's session is expired, and its lease has the new spelling."""
    harbour = workspace_resource("harbour")
    async with opened(upgraded) as database:
        start = await PostgresSessionStore(database).begin_session("shard-2", ttl_seconds=15)
        assert start is not None
        leases = PostgresLeaseStore(database)
        await leases.declare_dead(start.session)
        assert await leases.claim(start.session, [harbour]) == {harbour: 2}
