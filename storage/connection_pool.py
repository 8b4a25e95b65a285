"""The connections of one Database, from opening to closing. All of it runs in asyncio.

Owns the idle connections, and the moment from which all of them are useless. It must never hand out
a connection that was not given back in order.

Idle connections are in a list, and a connection belongs either to one coroutine or to the list.
asyncpg's own pool needs a round trip at every release, and can lose a connection to a badly timed
cancellation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from storage.connecting import KEEP_PLANS, PLAN_ANEW, open_session, server_version
from storage.driver_errors import FAILURES
from storage.faults import DatabaseRefused
from storage.hosts import each_host

if TYPE_CHECKING:
    import asyncio

    from storage.connecting import Connection, SessionBounds
    from storage.timeouts import Timeouts

E = TypeVar("E", bound=Exception)


@dataclass(slots=True)
class DatabaseCounts:
    """Counts of one Database since it was made, and its last error."""

    calls: int = 0
    opened: int = 0
    terminated: int = 0
    expired: int = 0
    reruns: int = 0
    commits_unknown: int = 0
    deadlines: int = 0
    listening: int = 0
    last_error: str | None = None

    def note(self, error: E) -> E:
        """Keep the error's text, and return the error."""
        self.last_error = f"{type(error).__name__}: {error}"
        return error


class PooledConnection(NamedTuple):
    """A connection, the pool's generation in which it was opened, and whether it keeps plans."""

    connection: Connection
    generation: int
    keeps_plans: bool


class ConnectionPool:
    """Connections of one Database. It does not count slots; the Database does."""

    def __init__(
        self,
        dsn: str,
        bounds: SessionBounds,
        counts: DatabaseCounts,
        family: list[ConnectionPool],
        timeouts: Timeouts,
        size: int,
    ) -> None:
        """`family`: all pools on the same server; this one joins them.

        No more than `size` connections are opened for the sake of their plans.
        """
        self._dsn = dsn
        self._bounds = bounds
        self._counts = counts
        self._timeouts = timeouts
        self._hosts: list[str] = []  # of the DSN; the one that accepted last is first
        self._idle: list[PooledConnection] = []
        self._size = size
        self._open = 0  # connections, those that are being opened included
        self._generation = 0
        self._family = family
        self._family.append(self)
        self.listeners: set[asyncio.Event] = set()  # set when listeners must look at their server
        self.closed = False
        self.server_version: str | None = None

    def __len__(self) -> int:
        """Return the number of idle connections."""
        return len(self._idle)

    async def obtain(self, *, keeps_plans: bool = False) -> PooledConnection:
        """Return a connection that keeps its plans or does not; see SessionBounds.

        An idle one of that kind is taken first. Else one is opened. If there are `size` already, an
        idle one of the other kind changes: that takes a round trip. Raises as `open` does.
        """
        wanted = keeps_plans or self._bounds.keeps_plans
        pooled = self._take_idle(wanted) or await self.open()
        return pooled if pooled.keeps_plans is wanted else await self._switch(pooled)

    def _take_idle(self, keeps_plans: bool) -> PooledConnection | None:
        """Return an idle connection, if possible of that kind; None if one is to be opened."""
        for pooled in [each for each in self._idle if not self._is_usable(each)]:
            self._idle.remove(pooled)
            self.terminate(pooled)
        for place in range(len(self._idle) - 1, -1, -1):
            if self._idle[place].keeps_plans is keeps_plans:
                return self._idle.pop(place)
        return self._idle.pop() if self._idle and self._open >= self._size else None

    async def _switch(self, pooled: PooledConnection) -> PooledConnection:
        """Let the connection keep its plans from now on, or plan anew. Raises the driver's errors.

        If that fails, nobody knows what the session does, so the connection is terminated.
        """
        keeps_plans = not pooled.keeps_plans
        try:
            await pooled.connection.execute(KEEP_PLANS if keeps_plans else PLAN_ANEW)
        except FAILURES:
            self.terminate(pooled)
            self.expire()
            raise
        except BaseException:
            self.terminate(pooled)
            raise
        return pooled._replace(keeps_plans=keeps_plans)

    async def open(self) -> PooledConnection:
        """Open a connection. Raises the driver's errors, or DatabaseRefused."""
        self._open += 1
        try:
            return await self._open_session()
        except BaseException:
            self._open -= 1
            raise

    async def _open_session(self) -> PooledConnection:
        generation = self._generation
        try:
            self._hosts = self._hosts or each_host(self._dsn)
            connection = await open_session(
                self._hosts,
                self._bounds,
                connect_timeout=self._timeouts.connect,
                command_timeout=self._timeouts.command,
            )
        except ValueError as error:
            refusal = DatabaseRefused("dsn", str(error), permanent=True)
            raise self._counts.note(refusal) from None
        except DatabaseRefused as refusal:
            self._counts.note(refusal)
            raise
        self._counts.opened += 1
        self.server_version = server_version(connection)
        return PooledConnection(connection, generation, self._bounds.keeps_plans)

    def give_back(self, pooled: PooledConnection) -> None:
        """Keep a connection whose session is in order, or terminate it if it is useless."""
        if self.closed or not self._is_usable(pooled):
            self.terminate(pooled)
        else:
            self._idle.append(pooled)

    def terminate(self, pooled: PooledConnection) -> None:
        self._open -= 1
        self._counts.terminated += 1
        pooled.connection.terminate()

    def expire(self) -> None:
        """Drop idle connections and make listeners check theirs.

        The server is gone or demoted, and all connections of the family are on that server.
        """
        self._counts.expired += 1
        for pool in self._family:
            pool._generation += 1
            pool.drop_idle()
            for look in pool.listeners:
                look.set()

    def drop_idle(self) -> None:
        while self._idle:
            self.terminate(self._idle.pop())

    async def close_idle(self) -> None:
        """Close idle connections politely."""
        while self._idle:
            pooled = self._idle.pop()
            try:
                await pooled.connection.close(timeout=1)
                self._open -= 1
            except FAILURES:
                self.terminate(pooled)

    def _is_usable(self, pooled: PooledConnection) -> bool:
        return pooled.generation == self._generation and not pooled.connection.is_closed()
