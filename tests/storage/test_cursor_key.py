"""The key that signs page cursors: one for all shards, random, and derived from no secret."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs

from storage.cursor_key import load_cursor_key
from storage.faults import DatabaseRefused
from storage.gateway import Database, open_bridge
from storage.migrations import migrate

if TYPE_CHECKING:
    from storage.gateway import Connection

SHARDS = 6


async def load_at_once(dsns: list[str]) -> list[bytes]:
    """What each of several starting shards gets, each through connections of its own."""
    keys: list[bytes] = []

    async def start(dsn: str) -> None:
        database = Database(dsn, pool_size=1)
        keys.append(await load_cursor_key(database))
        await database.aclose()

    async with open_bridge(), trio.open_nursery() as nursery:
        for dsn in dsns:
            nursery.start_soon(start, dsn)
    return keys


async def test_shards_that_start_at_once_with_other_dsns_get_one_key(dsn: str) -> None:
    dsns = [
        f"{dsn}{'&' if '?' in dsn else '?'}application_name=shard-{number}"
        for number in range(SHARDS)
    ]
    keys = await load_at_once(dsns)
    assert (len(keys), len(set(keys)), len(keys[0])) == (SHARDS, 1, 32)
    assert await load_at_once([dsn]) == keys[:1]


async def test_another_database_with_the_same_dsn_has_another_key(
    database: Database, dsn: str
) -> None:
    async def forget(connection: Connection) -> None:
        await connection.execute("DELETE FROM cursor_key")

    first = await load_cursor_key(database)
    await database.run(forget)
    second = await load_cursor_key(database)
    assert first != second
    assert hashlib.sha256(f"lastheard cursor {dsn}".encode()).digest() not in (first, second)


async def test_loading_the_key_logs_nothing_and_keeps_no_trace_of_it(database: Database) -> None:
    with capture_logs() as records:
        key = await load_cursor_key(database)
    assert records == []
    assert key.hex() not in repr(database.statistics())


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            "INSERT INTO cursor_key (singleton, key) VALUES (false, sha256('x'))",
            "cursor_key_singleton_check",
        ),
        ("INSERT INTO cursor_key (key) VALUES (sha256('x'))", "cursor_key_pkey"),
        ("UPDATE cursor_key SET key = 'short'", "cursor_key_length_check"),
    ],
)
async def test_the_table_holds_one_whole_key(
    database: Database, statement: str, constraint: str
) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute(statement)

    await load_cursor_key(database)
    with pytest.raises(DatabaseRefused, match=constraint):
        await database.run(work)


async def test_migrating_a_database_of_the_last_release_gives_it_a_key(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    (key,) = await load_at_once([empty_dsn])
    assert len(key) == 32
