"""The reference of the update benchmark: the same load in a plain asyncpg loop, with SQL and tables
of its own.

Shares no code with the product. The tables have the product's shape and durability: a narrow state
row and a document for each device, made beforehand, and a partitioned history with one index. A
transaction of 1,000 updates locks the rows in order, merges newest-wins in Python, upserts state
and snapshot, and inserts the events. `python -m benchmarks.bare_updates DSN UPDATES DEVICES`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from benchmarks.load import UPDATES_PER_UNIT, Load, Update
from benchmarks.names import PROVIDER, UPDATES
from benchmarks.verification import DURABILITY
from benchmarks.workers import say

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TABLES = """
CREATE TABLE device_state (
    workspace_id text, device_id text, version bigint NOT NULL DEFAULT 0,
    last_update_received_at timestamptz,
    PRIMARY KEY (workspace_id, device_id)
) WITH (fillfactor = 70);
CREATE TABLE snapshots (
    workspace_id text, device_id text, version bigint NOT NULL DEFAULT 0,
    document jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (workspace_id, device_id)
) WITH (fillfactor = 70);
CREATE TABLE events (
    workspace_id text NOT NULL, device_id text NOT NULL, sequence bigint NOT NULL,
    recorded_at timestamptz NOT NULL, received_at timestamptz NOT NULL, readings jsonb NOT NULL,
    provider_id text NOT NULL, trace_id text NOT NULL,
    shard_id text NOT NULL, epoch bigint NOT NULL, resource text, token bigint
) PARTITION BY RANGE (recorded_at);
CREATE TABLE events_all PARTITION OF events DEFAULT;
CREATE INDEX events_device_index ON events (workspace_id, device_id, recorded_at);
"""
MAKE_ROWS = """
WITH made AS (
    INSERT INTO device_state (workspace_id, device_id) SELECT $1, unnest($2::text[])
    RETURNING workspace_id, device_id
)
INSERT INTO snapshots (workspace_id, device_id) SELECT workspace_id, device_id FROM made
"""
LOCK = """
SELECT s.device_id, s.version, n.document, s.last_update_received_at
FROM device_state s JOIN snapshots n USING (workspace_id, device_id)
WHERE s.workspace_id = $1 AND s.device_id = ANY ($2::text[])
ORDER BY s.device_id FOR UPDATE OF s
"""
WRITE_STATES = """
INSERT INTO device_state (workspace_id, device_id, version, last_update_received_at)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::timestamptz[])
ON CONFLICT (workspace_id, device_id) DO UPDATE
SET version = excluded.version, last_update_received_at = excluded.last_update_received_at
"""
WRITE_SNAPSHOTS = """
INSERT INTO snapshots (workspace_id, device_id, version, document)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::jsonb[])
ON CONFLICT (workspace_id, device_id) DO UPDATE
SET version = excluded.version, document = excluded.document
"""
APPEND_EVENTS = """
INSERT INTO events (workspace_id, device_id, sequence, recorded_at, received_at, readings,
                    provider_id, trace_id, shard_id, epoch, resource, token)
SELECT $1, device_id, sequence, clock_timestamp(), received_at, readings,
    $6, 'bench', 'bench', 1, $1, 1
FROM unnest($2::text[], $3::bigint[], $4::timestamptz[], $5::jsonb[])
    AS i (device_id, sequence, received_at, readings)
"""

Incoming = tuple[
    str, datetime, list[tuple[str, float, str]]
]  # device, received, (signal, value, observed)


async def main(dsn: str, load: Load) -> None:
    """Make the tables, tell the parent, and commit the load when it answers."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(TABLES)
        await connection.execute(MAKE_ROWS, UPDATES, load.device_ids())
        incoming = [_to_incoming(update) for update in load.make()]
        say(ready=True)
        await _hear()
        began, cores = time.monotonic(), time.process_time()
        for start in range(0, len(incoming), UPDATES_PER_UNIT):
            async with connection.transaction():
                await _commit_unit(connection, incoming[start : start + UPDATES_PER_UNIT])
        seconds, cores = time.monotonic() - began, time.process_time() - cores
        settings = await connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])", list(DURABILITY)
        )
        durability = {row[0]: row[1] for row in settings}
        say(seconds=seconds, cores=cores, durability=durability)
        await _hear()
    finally:
        await connection.close()


async def _commit_unit(connection: asyncpg.Connection[Any], unit: Sequence[Incoming]) -> None:
    wanted = sorted({device_id for device_id, _, _ in unit})
    rows = await connection.fetch(LOCK, UPDATES, wanted)
    versions = {row[0]: row[1] for row in rows}
    documents = {row[0]: orjson.loads(row[2]) for row in rows}
    received = {row[0]: row[3] for row in rows}
    events = []
    for device_id, received_at, readings in unit:
        document = documents[device_id]
        news = {}
        for signal, value, observed_at in readings:
            held = document.get(signal)
            if held is None or observed_at > held[1]:
                news[signal] = (value, observed_at)
        if news:
            document.update(news)
            versions[device_id] += 1
            received[device_id] = max(received[device_id] or received_at, received_at)
            events.append(
                (device_id, versions[device_id], received_at, orjson.dumps(news).decode())
            )
    moved = sorted({event[0] for event in events})
    if not moved:
        return
    numbers = [versions[device_id] for device_id in moved]
    await connection.execute(
        WRITE_STATES, UPDATES, moved, numbers, [received[device_id] for device_id in moved]
    )
    texts = [orjson.dumps(documents[device_id]).decode() for device_id in moved]
    await connection.execute(WRITE_SNAPSHOTS, UPDATES, moved, numbers, texts)
    await connection.execute(
        APPEND_EVENTS, UPDATES, *map(list, zip(*events, strict=True)), PROVIDER
    )


def _to_incoming(update: Update) -> Incoming:
    readings = [
        (signal, value, _at(at).isoformat(timespec="milliseconds"))
        for signal, value, at in update.readings
    ]
    return update.device_id, _at(update.received_ms), readings


def _at(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


async def _hear() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Load(int(sys.argv[2]), int(sys.argv[3]))))
