"""The check for a connection pooler that hands connections out by the transaction.

A session of Lastheard keeps prepared statements and listens for notices, so each of its
transactions must run on one and the same server process. A pooler that gives each transaction any
process is noticed in service only when it happens to change the process. Here another session is
made busy, so that the pooler has to change it.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from storage.faults import explain_error
from storage.gateway import Database

if TYPE_CHECKING:
    from storage.gateway import Connection

_BUSY_SECONDS: Final = 0.6
_HEAD_START_SECONDS: Final = 0.2


async def refuse_pooling_by_transaction(dsn: str) -> None:
    """Raise DatabaseRefused if one session's transactions run on different server processes.

    Takes less than a second beside two log-ins. Raises DatabaseAway like any call.
    """
    async with (
        aclosing(Database(dsn, pool_size=1)) as watched,
        aclosing(Database(dsn, pool_size=1)) as other,
    ):
        await other.run(_server_process)  # logged in, so that it is busy at once below
        before = await watched.run(_server_process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.run, _be_busy)
            await trio.sleep(_HEAD_START_SECONDS)
            after = await watched.run(_server_process)
    if before != after:
        raise explain_error("26000", None, "one session changed its server process")


async def _server_process(connection: Connection) -> int:
    process: int = await connection.fetchval("SELECT pg_backend_pid()")
    return process


async def _be_busy(connection: Connection) -> None:
    await connection.execute(f"SELECT pg_sleep({_BUSY_SECONDS})")
