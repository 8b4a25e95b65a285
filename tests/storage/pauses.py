"""Transactions that pause before their COMMIT, and a way to see that others wait for them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from storage.gateway import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from storage.gateway import Connection

T = TypeVar("T")

WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


class SlowCommit(Database):
    """Calls that do their work, set `worked`, and wait for `commit` before they commit."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, pool_size=1)
        self.worked = trio.Event()
        self._go_on = asyncio.Event()

    async def run(self, work: Callable[[Connection], Awaitable[T]], **options: Any) -> T:
        async def slowly(connection: Connection) -> T:
            result = await work(connection)
            self.worked.set()
            await self._go_on.wait()
            return result

        return await super().run(slowly, **options)

    def commit(self) -> None:
        self._go_on.set()


async def wait_until_somebody_waits_for_a_lock(database: Database) -> None:
    with trio.fail_after(5):
        while not await database.run(lambda connection: connection.fetch(WAITING)):
            pass


@asynccontextmanager
async def transaction(database: Database, statement: str, *args: object) -> AsyncIterator[None]:
    """Carry out the statement, and commit at the end of the block, as a paused unit would."""
    began, go_on = trio.Event(), asyncio.Event()

    async def work(connection: Connection) -> None:
        await connection.execute(statement, *args)
        began.set()
        await go_on.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, work)
        await began.wait()
        yield
        go_on.set()
