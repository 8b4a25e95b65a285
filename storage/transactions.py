"""One call's work on one connection: its attempts, its transaction, and the cleaning up.

Owns COMMIT, and what is known when its answer is lost. All of it runs in asyncio, where every wait
has a bound of its own: each command (`command`, and `statement` on the server), and
the clean-up. A connection is used again only after a round trip has shown that its session is in
order.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from storage.driver_errors import (
    DOUBTFUL,
    FAILURES,
    RERUN,
    STALE_PLAN,
    sqlstate_of,
    translate,
    was_answered,
)
from storage.faults import CommitInDoubt, is_lost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from storage.connecting import Connection
    from storage.connection_pool import ConnectionPool, DatabaseCounts, PooledConnection

T = TypeVar("T")

MAX_ATTEMPTS: Final = 5  # for work that meets a deadlock or a serialization failure
WRITE: Final = "BEGIN"
READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Transactions:
    """Performs calls on the connections of one pool."""

    def __init__(
        self, pool: ConnectionPool, counts: DatabaseCounts, *, cleanup_seconds: float
    ) -> None:
        self._pool = pool
        self._counts = counts
        self._cleanup_seconds = cleanup_seconds

    async def perform(
        self,
        work: Callable[[Connection], Awaitable[T]],
        begin: str | None,
        *,
        fresh: bool,
        keeps_plans: bool = False,
    ) -> T:
        """Do the work in a transaction that starts with `begin` (WRITE, READ), or in none.

        After a deadlock, a serialization failure or a stale plan the whole work runs again.
        `keeps_plans`: on a connection that plans each statement once, unless it is a fresh one.
        Raises our exceptions instead of the driver's.
        """
        obtain = self._pool.open if fresh else partial(self._pool.obtain, keeps_plans=keeps_plans)
        attempt = 1
        plans_renewed = False
        while True:
            try:
                return await self._attempt(work, begin, await obtain())
            except RERUN as error:
                if attempt == MAX_ATTEMPTS:
                    raise self._counts.note(translate(error)) from error
                attempt += 1
            except STALE_PLAN as error:  # a migration ran; asyncpg has dropped its plans by now
                if plans_renewed:
                    raise self._counts.note(translate(error)) from error
                plans_renewed = True
            except FAILURES as error:
                raise self._counts.note(translate(error)) from error
            self._counts.reruns += 1

    async def _attempt(
        self,
        work: Callable[[Connection], Awaitable[T]],
        begin: str | None,
        pooled: PooledConnection,
    ) -> T:
        connection = pooled.connection
        try:
            if begin is not None:
                await connection.execute(begin)
            result = await work(connection)
            if begin is not None:
                await self._commit(connection, result, changes=begin is WRITE)
        except BaseException as error:
            await self._clean_up(pooled, error)
            raise
        self._pool.give_back(pooled)
        return result

    async def _commit(self, connection: Connection, result: object, *, changes: bool) -> None:
        """Send COMMIT and wait for its answer, also when the call is cancelled meanwhile.

        Without the answer, the caller would be in doubt for no reason. Raises CommitInDoubt if
        there is none and the transaction was to change data.
        """
        sent = asyncio.ensure_future(connection.execute("COMMIT"))
        try:
            try:
                status = await asyncio.shield(sent)
            except asyncio.CancelledError:
                status = await asyncio.wait_for(sent, self._cleanup_seconds)
        except FAILURES as error:
            if changes and not was_answered(error):
                self._counts.commits_unknown += 1
                raise self._counts.note(CommitInDoubt(result)) from error
            raise
        if status != "COMMIT":
            raise RuntimeError(
                f"work went on after an error inside its transaction, which ended in {status}"
            )

    async def _clean_up(self, pooled: PooledConnection, error: BaseException) -> None:
        """Keep the connection of a call that failed, or close it.

        It is kept if one round trip within `cleanup_seconds` proves the session clean.
        """
        lost = is_lost(sqlstate_of(error))
        if lost or isinstance(error, (TimeoutError, CommitInDoubt)):
            # A server that runs would have answered in the command's time.
            self._pool.expire()
        in_doubt = (
            lost or isinstance(error, (*DOUBTFUL, CommitInDoubt)) or pooled.connection.is_closed()
        )
        clean = False
        try:
            if not in_doubt:
                rollback = pooled.connection.execute("ROLLBACK")
                await asyncio.wait_for(rollback, self._cleanup_seconds)
                clean = True
        except FAILURES:
            pass
        finally:  # also when the loop ends and cancels us here
            if clean:
                self._pool.give_back(pooled)
            else:
                self._pool.terminate(pooled)
