"""The size of a whole snapshot in PostgreSQL, and documents that an older release wrote."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trio

from domain.held import to_micros
from domain.model import Reading
from domain.position import pair_positions
from domain.signals import CATALOGUE
from storage.gateway import Database, open_bridge
from storage.migrations import migrate_blocking
from storage.reads import PostgresReads
from tests.conftest import Stores, execute, fetch
from tests.storage.fixtures import WORKSPACE, Cast, populate

if TYPE_CHECKING:
    from domain.model import CanonicalUpdate, Value

MAX_BYTES = 1_900  # beyond 2 kB PostgreSQL moves a row out of line


@pytest.fixture
async def cast(postgres_stores: Stores) -> Cast:
    return await populate(postgres_stores)


def full_update(cast: Cast, seconds: float, *, turn: int) -> CanonicalUpdate:
    """Return every signal, each observed, received and changed at a time of its own."""
    readings = pair_positions(
        [
            Reading(signal, value_of(signal, turn * (place % 2)), at)
            for place, signal in enumerate(CATALOGUE)
            for at in [cast.at(seconds + 7.000321 * (place - place % 2) * (signal[-4:] != "_deg"))]
        ]
    )
    arrivals = tuple(
        reading.observed_at + timedelta(seconds=600.123456 + place)
        for place, reading in enumerate(readings)
    )
    return cast.update("bus-1", seconds)._replace(
        readings=readings,
        arrivals=arrivals,
        received_at=max(arrivals),
        reception_at=cast.at(seconds + 300.654321),
    )


def value_of(signal: str, turn: int) -> Value:
    entry = CATALOGUE[signal]
    if entry.kind == "boolean":
        return turn % 2 == 0
    if entry.kind == "text":
        return ("BATTERY_CHARGING", "2026-11-28T13:30:00Z")[turn % 2]
    return (
        (-77.123456, 51.987654)[turn % 2] if signal.endswith("_deg") and entry.minimum else 34.567
    )


async def test_a_snapshot_of_every_signal_stays_in_its_row(cast: Cast, database: Database) -> None:
    sent = [full_update(cast, -90_000.25 + turn * 30_000, turn=turn) for turn in range(3)]
    assert await cast.send(*sent) == ["accepted"] * 3

    ((size, out_of_line, document),) = await database.run(
        lambda connection: connection.fetch(
            "SELECT pg_column_size(n.*), pg_column_size(n.document) < length(n.document::text), "
            "n.document FROM snapshots n WHERE n.device_id = 'bus-1'"
        )
    )

    entries = orjson.loads(document)
    assert len(entries) == len(CATALOGUE) - 1  # a position is one entry
    assert all(None not in entry for entry in entries.values())
    assert not out_of_line  # nor compressed
    assert size < MAX_BYTES


OLD_DOCUMENT = """{"soc_percent": [88.5, "2026-05-01T10:00:00Z"],
 "latitude_deg": [52.1, "2026-05-01T10:00:00Z"], "longitude_deg": [5.1, "2026-05-01T10:00:00Z"]}"""
OLD_ROWS = (
    "INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since) "
    "VALUES ('harbour', 'A', 0, now())",
    "INSERT INTO providers (workspace_id, provider_id, provider_type, transport, base_url) "
    "VALUES ('harbour', 'live', 'viriciti', 'poll', 'https://p.example')",
    "INSERT INTO devices (workspace_id, device_id, provider_id, external_id, vehicle_id, "
    "vehicle_name) VALUES ('harbour', 'bus-1', 'live', 'x', 'v', 'Bus')",
    "INSERT INTO device_state (workspace_id, device_id, version) VALUES ('harbour', 'bus-1', 1)",
    "INSERT INTO snapshots (workspace_id, device_id, version, document) "
    f"VALUES ('harbour', 'bus-1', 1, '{OLD_DOCUMENT}')",
)


async def test_a_document_of_an_older_release_is_shown_as_before(empty_dsn: str) -> None:
    def prepare() -> None:
        migrate_blocking(empty_dsn, "0008")
        execute(empty_dsn, *OLD_ROWS)
        migrate_blocking(empty_dsn)

    await trio.to_thread.run_sync(prepare)
    async with open_bridge():
        database = Database(empty_dsn)
        found = await PostgresReads(database).get_snapshot(WORKSPACE, "bus-1")
        await database.aclose()
    assert found is not None
    at = to_micros(datetime.fromisoformat("2026-05-01T10:00:00Z"))
    shown: dict[str, tuple[Any, int, int | None]] = {
        signal: (held.value, held.stated, held.changed)
        for signal, held in found[1].document.items()
    }
    assert shown == {
        "soc_percent": (88.5, at, None),
        "latitude_deg": (52.1, at, None),
        "longitude_deg": (5.1, at, None),
    }
    column = (
        "SELECT data_type FROM information_schema.columns"
        " WHERE table_name = 'snapshots' AND column_name = 'document'"
    )
    assert [
        row["data_type"] for row in await trio.to_thread.run_sync(fetch, empty_dsn, column)
    ] == ["json"]
