"""Another transaction that holds locks for the length of a block, as a person's psql does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from storage.gateway import Connection, Database


@asynccontextmanager
async def holding(
    database: Database, statement: str, *values: Any, seconds: float = 4.0
) -> AsyncIterator[None]:
    """The statement's locks, on a connection of their own, for at most this long."""
    locked = trio.Event()

    async def work(connection: Connection) -> None:
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.fetch(statement, *values)
        locked.set()
        await connection.execute(f"SELECT pg_sleep({seconds})", timeout=seconds + 1)
        raise AssertionError(f"held for more than {seconds} s")

    async def hold() -> None:
        await database.run(work, fresh=True, deadline_seconds=seconds + 2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        with trio.fail_after(seconds):
            await locked.wait()
        yield
        nursery.cancel_scope.cancel()
