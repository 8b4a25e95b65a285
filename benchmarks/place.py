"""The database server of the benchmarks, as durable as in production, and databases on it.

Owns the making and the removal of both, and the queries of verification. These use plain asyncpg in
a thread, so that they work without the product's gateway.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import asyncpg
import trio

from benchmarks import cores
from benchmarks.verification import DURABILITY, Stored, check_durable, require
from storage.embedded import open_embedded
from tests.postgres import public_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = 60.0  # for a query of verification
SCRIPT_SECONDS = 600.0
LOOK_SECONDS = 0.1


@dataclass(slots=True)
class Place:
    """A running server. `postmaster_pid` is for measuring it."""

    dsn: str
    postmaster_pid: int
    _numbers: count[int]

    async def new_database(self, template: str = "template1") -> str:
        """Copy a database to which nobody is connected; return the DSN of the copy."""
        name = f"bench_{next(self._numbers)}"
        await fetch(self._dsn_of("postgres"), f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._dsn_of(name)

    async def drop_database(self, dsn: str) -> None:
        """Remove a database; sessions that are still connected to it are ended."""
        await fetch(self._dsn_of("postgres"), f'DROP DATABASE "{name_of(dsn)}" WITH (FORCE)')

    async def checkpoint(self) -> None:
        """Write a checkpoint, so that no round pays for the writes of the one before."""
        await fetch(self._dsn_of("postgres"), "CHECKPOINT")

    def core_seconds(self) -> float:
        return cores.of_server(self.postmaster_pid)

    async def check_durable(self) -> None:
        """Raise NotVerified unless the server as a whole waits for the disk."""
        require(check_durable(await read_durability(self._dsn_of("postgres")), "at the server"))

    def _dsn_of(self, database: str) -> str:
        head, _, options = self.dsn.partition("?")
        return f"{head.rsplit('/', 1)[0]}/{database}?{options}"


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    """Run a server with an empty cluster, in a folder that is removed at the end of the block."""
    with public_folder("lastheard-bench-") as folder:
        async with open_embedded(folder) as server:
            yield Place(server.dsn, server.pid, count(1))


def name_of(dsn: str) -> str:
    """Return the name of the database in a DSN."""
    return dsn.partition("?")[0].rsplit("/", 1)[1]


async def fetch(dsn: str, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Return the rows of one statement, on a connection of its own."""

    async def run() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=SECONDS)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()

    return await trio.to_thread.run_sync(lambda: asyncio.run(run()))


async def run_script(dsn: str, script: str) -> None:
    """Run several statements, such as a schema, on a connection of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=SCRIPT_SECONDS)
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    await trio.to_thread.run_sync(lambda: asyncio.run(run()))


async def fetch_until(
    dsn: str, seconds: float, wanted: int, statement: str, *arguments: Any
) -> int:
    """Ask for one number until it is at least `wanted`, for at most `seconds`; return the last one.

    On one connection, because opening one costs the server more than the answer.
    """

    async def run() -> int:
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=SECONDS)
        try:
            deadline = time.monotonic() + seconds
            found: int = await connection.fetchval(statement, *arguments)
            while found < wanted and time.monotonic() < deadline:
                await asyncio.sleep(LOOK_SECONDS)
                found = await connection.fetchval(statement, *arguments)
            return found
        finally:
            await connection.close()

    return await trio.to_thread.run_sync(lambda: asyncio.run(run()))


async def read_durability(dsn: str) -> dict[str, str]:
    names = ", ".join(f"'{name}'" for name in DURABILITY)
    return dict(await fetch(dsn, f"SELECT name, setting FROM pg_settings WHERE name IN ({names})"))


async def read_stored(dsn: str, workspace_id: str) -> Stored:
    """Return the stored rows of one workspace, or of all whose names begin with its name.

    Product and reference use the same table names.
    """
    events = await read_events(dsn, workspace_id)
    states = await fetch(
        dsn,
        "SELECT device_id, version FROM device_state WHERE starts_with(workspace_id, $1)",
        workspace_id,
    )
    snapshots = await fetch(
        dsn,
        "SELECT device_id, version, document::text FROM snapshots "
        "WHERE starts_with(workspace_id, $1)",
        workspace_id,
    )
    return Stored(
        events,
        dict(states),
        {device_id: (version, document) for device_id, version, document in snapshots},
    )


async def read_events(dsn: str, workspace_id: str) -> list[tuple[str, int, str]]:
    """Return device, sequence and readings of each event of one workspace, in order.

    References and old commits have the readings in the table itself. The view shows an event
    without readings as NULL.
    """
    ((view,),) = await fetch(dsn, "SELECT to_regclass('readable_events') IS NOT NULL")
    source = "readable_events" if view else "events"
    return [
        (device_id, sequence, readings)
        for device_id, sequence, readings in await fetch(
            dsn,
            f"SELECT device_id, sequence, coalesce(readings::text, '{{}}') FROM {source} "
            "WHERE starts_with(workspace_id, $1) ORDER BY device_id, sequence",
            workspace_id,
        )
    ]


async def count_written(dsn: str) -> tuple[int, int]:
    """Return (events, versions) of a whole database."""
    ((events, versions),) = await fetch(
        dsn,
        "SELECT (SELECT count(*) FROM events), (SELECT coalesce(sum(version), 0)::bigint FROM "
        "device_state)",
    )
    return events, versions
