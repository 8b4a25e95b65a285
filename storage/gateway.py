"""The way to PostgreSQL: every call, from trio to asyncio and back.

Only this module knows trio-asyncio. Owns the bridge to asyncio, the slots, and the bounds of a
call. Every call crosses the bridge once, with one asyncio coroutine (storage/transactions.py): it
acquires a connection, works, commits and gives the connection back. `async with` over the bridge is
banned: a cancelled trio scope cancels the wrapped `__aexit__` before its first step, and the
connection is lost for good.

Cancellation over the bridge is cooperative, so each wait is bounded inside asyncio as well:
connecting, acquiring, every command (here, and a second less on the server), and the clean-up
afterwards. storage/timeouts.py has the figures.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import trio
import trio_asyncio  # type: ignore[import-untyped]

from runtime.measures import ignore
from storage.bridge import Bridge, run_callbacks_together
from storage.connecting import SessionBounds, connect_to_one
from storage.connection_pool import ConnectionPool, DatabaseCounts
from storage.faults import DatabaseAway
from storage.hosts import each_host
from storage.listening import listen_until_demoted
from storage.pool_statistics import DatabaseStatistics
from storage.query_spans import query_span
from storage.timeouts import DEFAULT_TIMEOUTS, Timeouts
from storage.transactions import READ, WRITE, Transactions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runtime.measures import Observe
    from storage.connecting import (
        Connection as Connection,  # every file of storage/ names it by this module
    )

T = TypeVar("T")

DEADLINE_SECONDS: Final = 8.0


@asynccontextmanager
async def open_bridge() -> AsyncIterator[Bridge]:
    """Open the asyncio loop that `Database` needs.

    Enter it outermost, because only tasks that start inside find the loop. An exception from the
    body leaves as it is; otherwise the loop's two nurseries would wrap it in two groups.
    """
    bridge = Bridge()
    failure: Exception | None = None
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(bridge.note_error)
        run_callbacks_together(loop)
        try:
            yield bridge
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure


async def connect(dsn: str, *, timeout: float = 5.0, **options: Any) -> Connection:
    """Open a bare connection without our bounds, for migrations and test set-up. Runs in asyncio.

    Several hosts are tried in turn, each for its share of `timeout` seconds. Raises the last host's
    failure.
    """
    return await connect_to_one(each_host(dsn), timeout, **options)


class Database:
    """The PostgreSQL behind one DSN, and connections to it. Needs `open_bridge` around it.

    Connections are opened when they are first needed. Options of the DSN, such as
    `target_session_attrs`, reach asyncpg as they are.
    """

    def __init__(
        self,
        dsn: str,
        *,
        pool_size: int = 4,
        application_name: str = "lastheard",
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        keeps_plans: bool = False,
        family: list[ConnectionPool] | None = None,
        observe_wait: Observe = ignore,
    ) -> None:
        """`keeps_plans`: plan each statement once; for joins by primary key alone (SessionBounds).

        `observe_wait` is told how many seconds each call waited for one of the slots.

        `family`: the pools of the other Databases on the same server; this one's joins them.

        If one of them finds the server gone or demoted, that holds for all.
        """
        self._slots = trio.CapacityLimiter(pool_size)
        self._acquire_seconds = timeouts.acquire
        self._observe_wait = observe_wait
        self._counts = DatabaseCounts()
        self._pool = ConnectionPool(
            dsn,
            SessionBounds(
                application_name, timeouts.statement, timeouts.lock, keeps_plans=keeps_plans
            ),
            self._counts,
            [] if family is None else family,
            timeouts,
            pool_size,
        )
        self._transactions = Transactions(
            self._pool, self._counts, cleanup_seconds=timeouts.cleanup
        )

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        name: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        in_transaction: bool = True,
        readonly: bool = False,
        fresh: bool = False,
        keeps_plans: bool = False,
    ) -> T:
        """Run `work` and return its answer.

        `work` is an asyncio coroutine function that awaits the connection and nothing else. It runs
        in a transaction unless `in_transaction` is false. `readonly` gives one consistent snapshot.
        `fresh` opens a new connection for the call. `keeps_plans` takes one that plans each
        statement once: for work of which every statement looks rows up by given keys
        (SessionBounds). `name` is for traces, if the function's says too little. After a deadlock
        or a serialization failure the whole work runs again. Without a transaction the work must be
        repeatable: if a connection breaks, nobody knows whether its last statement took effect.

        Raises DatabaseAway (CommitInDoubt is one), DatabaseRefused or UnitPoisoned. Cancellable: it
        then returns within the time for cleanup. If a COMMIT had been sent and is answered within
        that time, it returns the answer of `work`.
        """
        self._require_open()
        self._counts.calls += 1
        begin = None if not in_transaction else READ if readonly else WRITE
        perform = trio_asyncio.aio_as_trio(self._transactions.perform)
        with query_span(work, name):
            with trio.move_on_after(deadline_seconds):
                await self._take_slot()
                try:
                    result: T = await perform(work, begin, fresh=fresh, keeps_plans=keeps_plans)
                    return result
                finally:
                    self._slots.release()
            self._counts.deadlines += 1
            away = DatabaseAway(f"no answer within {deadline_seconds:g} s", retry_after=0.5)
            raise self._counts.note(away)

    async def listen(
        self, channel: str, on_notice: Callable[[str], None], *, check_seconds: float = 10.0
    ) -> NoReturn:
        """Listen on a connection of its own, besides the slots.

        Calls `on_notice` with each payload, and with "" once it listens. `on_notice` runs inside
        asyncio: it must only take note, and never raise.

        Ends only by raising DatabaseAway (or DatabaseRefused): at once when the connection ends,
        and within `check_seconds` and a command's time when it is dead or its server has become
        read-only. Cancellable at any moment.
        """
        self._require_open()
        listen = trio_asyncio.aio_as_trio(listen_until_demoted)
        await listen(self._pool, self._counts, channel, on_notice, check_seconds)
        away = DatabaseAway("the server has become read-only", retry_after=0.2)
        raise self._counts.note(away)

    async def aclose(self) -> None:
        """Close idle connections politely, within 3 s.

        A connection in use closes when its call ends.
        """
        self._pool.closed = True
        with trio.CancelScope(shield=True), trio.move_on_after(3):
            await trio_asyncio.aio_as_trio(self._pool.close_idle)()
        self._pool.drop_idle()

    def statistics(self) -> DatabaseStatistics:
        slots = self._slots.statistics()
        return DatabaseStatistics(
            pool_size=int(slots.total_tokens),
            in_use=int(slots.borrowed_tokens),
            waiting=slots.tasks_waiting,
            idle=len(self._pool),
            **asdict(self._counts),
            server_version=self._pool.server_version,
        )

    def _require_open(self) -> None:
        if self._pool.closed:
            raise RuntimeError("this Database has been closed")

    async def _take_slot(self) -> None:
        began = trio.current_time()
        with trio.move_on_after(self._acquire_seconds) as waiting:
            await self._slots.acquire()
        self._observe_wait(trio.current_time() - began)
        if waiting.cancelled_caught:
            message = f"no connection became free within {self._acquire_seconds:g} s"
            raise self._counts.note(DatabaseAway(message, retry_after=0.5))
