"""Where benchmarks run: a PostgreSQL of their own, as durable as in production, and databases copied from one template.

Owns their making and their removal.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import trio
from trio_asyncio import aio_as_trio  # type: ignore[import-untyped]

from api.ports import DeviceDraft
from domain.model import Policy, ProviderConnection
from storage.embedded import open_embedded
from storage.gateway import connect
from storage.migrations import migrate
from tests.postgres import public_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.feed import Feed
    from storage.registry import PostgresRegistry

WORKSPACE = "bench"
PROVIDER = "feed"


@dataclass(slots=True)
class Place:
    """A running server with a migrated database."""

    dsn: str
    _numbers: count[int]

    async def new_database(self, template: str = "lastheard") -> str:
        """The DSN of a fresh copy of a database to which nobody is connected."""
        name = f"bench_{next(self._numbers)}"
        await aio_as_trio(_execute)(self._dsn_of("postgres"), f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._dsn_of(name)

    def _dsn_of(self, database: str) -> str:
        head, _, options = self.dsn.partition("?")
        return f"{head.rsplit('/', 1)[0]}/{database}?{options}"


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    """Needs the bridge around it."""
    with public_folder("lastheard-bench-") as folder:
        async with open_embedded(folder) as server:
            await migrate(server.dsn)
            yield Place(server.dsn, count(1))


@asynccontextmanager
async def run_sender(feed: Feed) -> AsyncIterator[int]:
    """The sender process; its port."""
    command = [sys.executable, "-m", "benchmarks.sender", *(str(number) for number in feed)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    try:
        line = b""
        with trio.fail_after(60):
            while not line.endswith(b"\n"):
                assert process.stdout is not None
                line += await process.stdout.receive_some()
        yield int(line)
    finally:
        process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()


async def configure(registry: PostgresRegistry, port: int, vids: list[str]) -> None:
    """One workspace with one streaming connection and these vehicles."""
    await registry.put_workspace(WORKSPACE, name="Benchmark", active=True, poll_interval_seconds=3600, policy=Policy())
    await registry.put_provider(
        ProviderConnection(WORKSPACE, PROVIDER, "viriciti", "stream", f"http://127.0.0.1:{port}", "file:/dev/null")
    )
    for start in range(0, len(vids), 1000):
        await registry.put_devices(
            WORKSPACE, [DeviceDraft(vid, PROVIDER, vid, vid, vid) for vid in vids[start : start + 1000]]
        )


async def _execute(dsn: str, statement: str) -> None:
    connection = await connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(dsn: str, statement: str) -> list[tuple[object, ...]]:
    """Rows of one query, for verification."""

    async def run() -> list[tuple[object, ...]]:
        connection = await connect(dsn)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    rows: list[tuple[object, ...]] = await aio_as_trio(run)()
    return rows
