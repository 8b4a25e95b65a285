"""LISTEN on a connection of its own, until the server is found away or demoted.

Owns the checks of a listening connection: an idle one does not notice that its server died, or
became read-only. All of it runs in asyncio.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from storage.driver_errors import FAILURES, ConnectionEnded, sqlstate_of, translate
from storage.faults import is_lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.connecting import Connection
    from storage.connection_pool import ConnectionPool, DatabaseCounts

# Whether the server is a standby, or a primary that was made read-only. Open sessions are not told
# of either.
_IS_DEMOTED: Final = (
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
)


async def listen_until_demoted(
    pool: ConnectionPool,
    counts: DatabaseCounts,
    channel: str,
    on_notice: Callable[[str], None],
    check_seconds: float,
) -> None:
    """Listen until the server is found demoted. Raises our exception when the connection fails."""
    try:
        pooled = await pool.open()
        counts.listening += 1
        try:
            await _hear(pool, pooled.connection, channel, on_notice, check_seconds)
        finally:
            counts.listening -= 1
            pool.terminate(pooled)
    except FAILURES as error:
        if is_lost(sqlstate_of(error)):
            pool.expire()
        raise counts.note(translate(error)) from error
    pool.expire()


async def _hear(
    pool: ConnectionPool,
    connection: Connection,
    channel: str,
    on_notice: Callable[[str], None],
    check_seconds: float,
) -> None:
    look = asyncio.Event()  # set when this connection or its server may have failed
    connection.add_termination_listener(lambda _connection: look.set())
    await connection.add_listener(
        channel, lambda _connection, _pid, _channel, payload: on_notice(payload)
    )
    on_notice("")
    pool.listeners.add(look)
    try:
        while not await connection.fetchval(_IS_DEMOTED):
            with suppress(TimeoutError):  # before 3.12, wait_for may swallow a cancellation
                async with asyncio.timeout(check_seconds):
                    await look.wait()
            look.clear()
            if connection.is_closed():
                raise ConnectionEnded("the connection that listened has ended")
    finally:
        pool.listeners.discard(look)
