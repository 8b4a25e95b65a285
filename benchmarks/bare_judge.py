"""The reference of B2 and B3: a plain asyncpg loop with one row for each device and its events.

Shares no code with the product. A device is a registry row and a row with version, times and newest
values; history is partitioned, with a primary key. `unit`: each transaction of 1,000 updates reads
the devices with one statement, merges newest-wins in Python, inserts the events and writes the
rows that still have the version that was read. `single`: each update is a transaction of its own
with two statements, over a number of connections.
`python -m benchmarks.bare_judge DSN UPDATES DEVICES SIZE unit` or `… SIZE CONNECTIONS`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from benchmarks.load import UPDATES_PER_UNIT, Load, Update, workspace_of
from benchmarks.verification import DURABILITY
from benchmarks.workers import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    Connection = asyncpg.Connection[Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TABLES = """
CREATE TABLE devices (
    workspace_id text, device_id text, vehicle_id text, provider_id text, external_id text,
    PRIMARY KEY (workspace_id, device_id)
);
CREATE TABLE snapshots (
    workspace_id text, device_id text, version bigint NOT NULL DEFAULT 0,
    document jsonb NOT NULL DEFAULT '{}', observed_at timestamptz, received_at timestamptz,
    PRIMARY KEY (workspace_id, device_id)
) WITH (fillfactor = 70);
CREATE VIEW device_state AS SELECT workspace_id, device_id, version FROM snapshots;
CREATE TABLE events (
    workspace_id text, device_id text, sequence bigint, recorded_at timestamptz,
    observed_at timestamptz, readings jsonb,
    PRIMARY KEY (recorded_at, workspace_id, device_id, sequence)
) PARTITION BY RANGE (recorded_at);
CREATE TABLE events_all PARTITION OF events DEFAULT;
"""
MAKE_DEVICES = """
INSERT INTO devices
SELECT workspace_id, device_id, 'vehicle', 'feed', device_id
FROM unnest($1::text[], $2::text[]) AS k (workspace_id, device_id)
"""
MAKE_SNAPSHOTS = """
INSERT INTO snapshots (workspace_id, device_id) SELECT workspace_id, device_id FROM devices
"""
READ = """
SELECT d.workspace_id, d.device_id, s.version, s.document
FROM unnest($1::text[], $2::text[]) AS k (workspace_id, device_id)
JOIN devices d USING (workspace_id, device_id) JOIN snapshots s USING (workspace_id, device_id)
"""
INSERT_EVENTS = """
INSERT INTO events
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[],
                     $6::jsonb[])
"""
WRITE = """
WITH news AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::jsonb[],
                         $6::timestamptz[])
        AS t (workspace_id, device_id, old, new, document, observed_at)
    ORDER BY 1, 2
)
UPDATE snapshots s
SET document = news.document, version = news.new, observed_at = news.observed_at, received_at = $7
FROM news
WHERE s.workspace_id = news.workspace_id AND s.device_id = news.device_id AND s.version = news.old
"""
WRITE_ONE = """
UPDATE snapshots
SET document = document || $3, version = version + 1, observed_at = $4, received_at = $5
WHERE workspace_id = $1 AND device_id = $2 AND (observed_at IS NULL OR observed_at < $4)
RETURNING version
"""
INSERT_ONE = "INSERT INTO events VALUES ($1, $2, $3, $4, $5, $6)"

# workspace, device, signal -> value and time in microseconds
Incoming = tuple[str, str, dict[str, tuple[float, int]]]


async def main(dsn: str, load: Load, size: int, way: str) -> None:
    """Make the tables, tell the parent, and commit the load when it answers."""
    number = 1 if way == "unit" else int(way)
    connections = [await asyncpg.connect(dsn, timeout=10) for _ in range(number)]
    try:
        first = connections[0]
        device_ids = load.device_ids()
        await first.execute(TABLES)
        await first.execute(
            MAKE_DEVICES, [workspace_of(name, size) for name in device_ids], device_ids
        )
        await first.execute(MAKE_SNAPSHOTS)
        await first.execute("ANALYZE")
        incoming = [_to_incoming(update, size) for update in load.make()]
        say(ready=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        began, cores = time.monotonic(), time.process_time()
        if way == "unit":
            for start in range(0, len(incoming), UPDATES_PER_UNIT):
                async with first.transaction():
                    await _commit_unit(first, incoming[start : start + UPDATES_PER_UNIT])
        else:
            await asyncio.gather(
                *(
                    _commit_singly(connection, incoming[place::number])
                    for place, connection in enumerate(connections)
                )
            )
        seconds, cores = time.monotonic() - began, time.process_time() - cores
        settings = await first.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])", list(DURABILITY)
        )
        say(seconds=seconds, cores=cores, durability={row[0]: row[1] for row in settings})
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    finally:
        for connection in connections:
            await connection.close()


async def _commit_unit(connection: Connection, unit: Sequence[Incoming]) -> None:
    now = datetime.now(UTC)
    keys = sorted({(workspace_id, device_id) for workspace_id, device_id, _ in unit})
    rows = await connection.fetch(READ, *map(list, zip(*keys, strict=True)))
    held = {(row[0], row[1]): [row[2], row[2], orjson.loads(row[3]), 0] for row in rows}
    events = []
    for workspace_id, device_id, readings in unit:
        device = held[workspace_id, device_id]
        document = device[2]
        news = {}
        for signal, (value, at) in readings.items():
            known = document.get(signal)
            if known is None or at > known[1]:
                news[signal] = (value, at)
        if not news:
            continue
        document.update(news)
        device[1] += 1
        newest = max(at for _, at in news.values())
        device[3] = max(device[3], newest)
        events.append(
            (workspace_id, device_id, device[1], now, _at(newest), orjson.dumps(news).decode())
        )
    if not events:
        return
    await connection.execute(INSERT_EVENTS, *map(list, zip(*events, strict=True)))
    changed = [
        (*key, old, new, orjson.dumps(document).decode(), _at(newest))
        for key, (old, new, document, newest) in held.items()
        if new != old
    ]
    status = await connection.execute(WRITE, *map(list, zip(*changed, strict=True)), now)
    if status != f"UPDATE {len(changed)}":
        raise RuntimeError(f"{status} instead of {len(changed)} rows")


async def _commit_singly(connection: Connection, incoming: Sequence[Incoming]) -> None:
    for workspace_id, device_id, readings in incoming:
        now, text = datetime.now(UTC), orjson.dumps(readings).decode()
        observed_at = _at(max(at for _, at in readings.values()))
        async with connection.transaction():
            version = await connection.fetchval(
                WRITE_ONE, workspace_id, device_id, text, observed_at, now
            )
            if version is not None:
                await connection.execute(
                    INSERT_ONE, workspace_id, device_id, version, now, observed_at, text
                )


def _to_incoming(update: Update, size: int) -> Incoming:
    readings = {signal: (value, 1000 * at) for signal, value, at in update.readings}
    return workspace_of(update.device_id, size), update.device_id, readings


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1], Load(int(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4]), sys.argv[5])
    )
