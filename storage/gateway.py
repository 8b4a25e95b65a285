"""The way to PostgreSQL: every call, its transaction and its connection.

Only this module and storage/connecting.py know asyncpg; only this one knows trio-asyncio. Owns the
bridge to asyncio, and the connections from opening to closing. Every call crosses the bridge once:
one asyncio coroutine acquires a connection, works, commits and gives the connection back.
`async with` over the bridge is banned: a cancelled trio scope cancels the wrapped `__aexit__`
before its first step, and the connection is lost for good.

Cancellation over the bridge is cooperative, so each wait is bounded inside asyncio as well:
connecting, acquiring, every command (`command_timeout` here, `statement_timeout` a second less on
the server), and the clean-up afterwards.

A connection is used again only after a round trip has shown that its session is in order. There is
no pool class: idle connections are in a list, a trio limiter counts slots, and a connection belongs
either to one coroutine or to the list. asyncpg's own pool needs a round trip at every release, and
can lose a connection to a badly timed cancellation.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import asyncpg
import trio
import trio_asyncio  # type: ignore[import-untyped]

from storage.bridge import Bridge
from storage.connecting import DOUBTFUL, SessionBounds, connect_to_one, open_session, server_version
from storage.faults import CommitInDoubt, DatabaseAway, DatabaseRefused, explain_error, is_lost
from storage.hosts import each_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from storage.connecting import (
        Connection as Connection,  # every file of storage/ names it by this module
    )

T = TypeVar("T")

MAX_ATTEMPTS: Final = 5  # for work that meets a deadlock or a serialization failure
DEADLINE_SECONDS: Final = 8.0
_WRITE: Final = "BEGIN"
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_RERUN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_STALE_PLAN: Final = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
# Whether the server is a standby, or a primary that was made read-only. Open sessions are not told
# of either.
_IS_DEMOTED: Final = (
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
)


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
        connect_timeout: float = 5.0,
        acquire_timeout: float = 5.0,
        statement_timeout: float = 5.0,
        command_timeout: float = 6.0,
        lock_timeout: float = 2.0,
        settle_timeout: float = 1.0,
        family: list[Database] | None = None,
    ) -> None:
        """All times are in seconds.

        `settle_timeout`: how long a cancelled or failed call may take to leave its session clean,
        or to learn how its COMMIT ended. After that its connection is closed. `family`: the other
        Databases on the same server; this one joins them. If one of them finds the server gone or
        demoted, that holds for all.
        """
        self._dsn = dsn
        self._hosts: list[str] = []  # of the DSN; the one that accepted last is first
        self._slots = trio.CapacityLimiter(pool_size)
        self._connect_timeout = connect_timeout
        self._acquire_timeout = acquire_timeout
        self._command_timeout = command_timeout
        self._settle_timeout = settle_timeout
        self._bounds = SessionBounds(application_name, statement_timeout, lock_timeout)
        self._server_version: str | None = None
        self._idle: list[tuple[Connection, int]] = []  # each with the generation it was opened in
        self._generation = 0
        self._listeners: set[asyncio.Event] = set()
        self._closed = False
        self._family = [] if family is None else family
        self._family.append(self)
        self._counts = dict.fromkeys(
            (
                "calls",
                "opened",
                "terminated",
                "expired",
                "reruns",
                "commits_unknown",
                "deadlines",
                "listening",
            ),
            0,
        )
        self._last_error: str | None = None

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        in_transaction: bool = True,
        readonly: bool = False,
        fresh: bool = False,
    ) -> T:
        """Run `work` and return its answer.

        `work` is an asyncio coroutine function that awaits the connection and nothing else. It runs
        in a transaction unless `in_transaction` is false. `readonly` gives one consistent snapshot.
        `fresh` opens a new connection for the call. After a deadlock or a serialization failure the
        whole work runs again. Without a transaction the work must be repeatable: if a connection
        breaks, nobody knows whether its last statement took effect.

        Raises DatabaseAway (CommitInDoubt is one), DatabaseRefused or UnitPoisoned. Cancellable: it
        then returns within `settle_timeout`. If a COMMIT had been sent and is answered within that
        time, it returns the answer of `work`.
        """
        self._require_open()
        self._counts["calls"] += 1
        begin = None if not in_transaction else _READ if readonly else _WRITE
        with trio.move_on_after(deadline_seconds):
            await self._take_slot()
            try:
                result: T = await trio_asyncio.aio_as_trio(self._perform)(work, begin, fresh)
                return result
            finally:
                self._slots.release()
        self._counts["deadlines"] += 1
        raise self._note(DatabaseAway(f"no answer within {deadline_seconds:g} s", retry_after=0.5))

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
        await trio_asyncio.aio_as_trio(self._listen)(channel, on_notice, check_seconds)
        raise self._note(DatabaseAway("the server has become read-only", retry_after=0.2))

    async def aclose(self) -> None:
        """Close idle connections politely, within 3 s.

        A connection in use closes when its call ends.
        """
        self._closed = True
        with trio.CancelScope(shield=True), trio.move_on_after(3):
            await trio_asyncio.aio_as_trio(self._close_idle)()
        self._drop_idle()

    def statistics(self) -> dict[str, Any]:
        slots = self._slots.statistics()
        return {
            "pool_size": int(slots.total_tokens),
            "in_use": int(slots.borrowed_tokens),
            "waiting": slots.tasks_waiting,
            "idle": len(self._idle),
            **self._counts,
            "server_version": self._server_version,
            "last_error": self._last_error,
        }

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("this Database has been closed")

    async def _take_slot(self) -> None:
        with trio.move_on_after(self._acquire_timeout) as waiting:
            await self._slots.acquire()
        if waiting.cancelled_caught:
            message = f"no connection became free within {self._acquire_timeout:g} s"
            raise self._note(DatabaseAway(message, retry_after=0.5))

    # --- asyncio: one coroutine for each call ---------------------------------------------------------------------

    async def _perform(
        self, work: Callable[[Connection], Awaitable[T]], begin: str | None, fresh: bool
    ) -> T:
        attempt = 1
        plans_renewed = False
        while True:
            try:
                return await self._attempt(work, begin, fresh)
            except _RERUN as error:
                if attempt == MAX_ATTEMPTS:
                    raise self._translate(error) from error
                attempt += 1
            except _STALE_PLAN as error:  # a migration ran; asyncpg has dropped its plans by now
                if plans_renewed:
                    raise self._translate(error) from error
                plans_renewed = True
            except (asyncpg.PostgresError, *DOUBTFUL) as error:
                raise self._translate(error) from error
            self._counts["reruns"] += 1

    async def _attempt(
        self, work: Callable[[Connection], Awaitable[T]], begin: str | None, fresh: bool
    ) -> T:
        connection, generation = await self._open() if fresh else await self._obtain()
        try:
            if begin is not None:
                await connection.execute(begin)
            result = await work(connection)
            if begin is not None:
                await self._commit(connection, result, changes=begin is _WRITE)
        except BaseException as error:
            await self._settle(connection, generation, error)
            raise
        self._give_back(connection, generation)
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
                status = await asyncio.wait_for(sent, self._settle_timeout)
        except (asyncpg.PostgresError, *DOUBTFUL) as error:
            if changes and not _was_answered(error):
                self._counts["commits_unknown"] += 1
                raise self._note(CommitInDoubt(result)) from error
            raise
        if status != "COMMIT":
            raise RuntimeError(
                f"work went on after an error inside its transaction, which ended in {status}"
            )

    async def _settle(self, connection: Connection, generation: int, error: BaseException) -> None:
        """Clean up after a failure: keep the connection or close it.

        It is kept if one round trip within `settle_timeout` proves the session clean.
        """
        sqlstate = getattr(error, "sqlstate", None)
        if is_lost(sqlstate) or isinstance(error, (TimeoutError, CommitInDoubt)):
            self._expire()  # a server that runs would have answered in the command's time
        in_doubt = (
            isinstance(error, (*DOUBTFUL, CommitInDoubt))
            or is_lost(sqlstate)
            or connection.is_closed()
        )
        clean = False
        try:
            if not in_doubt:
                await asyncio.wait_for(connection.execute("ROLLBACK"), self._settle_timeout)
                clean = True
        except (asyncpg.PostgresError, *DOUBTFUL):
            pass
        finally:  # also when the loop ends and cancels us here
            if clean:
                self._give_back(connection, generation)
            else:
                self._terminate(connection)

    async def _listen(
        self, channel: str, on_notice: Callable[[str], None], check_seconds: float
    ) -> None:
        """Listen until the server is found demoted. Raises when the connection fails."""
        try:
            connection, _ = await self._open()
            self._counts["listening"] += 1
            try:
                await self._hear(connection, channel, on_notice, check_seconds)
            finally:
                self._counts["listening"] -= 1
                self._terminate(connection)
        except (asyncpg.PostgresError, *DOUBTFUL) as error:
            if is_lost(getattr(error, "sqlstate", None)):
                self._expire()
            raise self._translate(error) from error
        self._expire()

    async def _hear(
        self,
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
        self._listeners.add(look)
        try:
            while not await connection.fetchval(_IS_DEMOTED):
                with suppress(TimeoutError):  # before 3.12, wait_for may swallow a cancellation
                    async with asyncio.timeout(check_seconds):
                        await look.wait()
                look.clear()
                if connection.is_closed():
                    raise asyncpg.ConnectionDoesNotExistError(
                        "the connection that listened has ended"
                    )
        finally:
            self._listeners.discard(look)

    async def _obtain(self) -> tuple[Connection, int]:
        while self._idle:
            connection, generation = self._idle.pop()
            if generation == self._generation and not connection.is_closed():
                return connection, generation
            self._terminate(connection)
        return await self._open()

    async def _open(self) -> tuple[Connection, int]:
        generation = self._generation
        try:
            self._hosts = self._hosts or each_host(self._dsn)
            connection = await open_session(
                self._hosts,
                self._bounds,
                connect_timeout=self._connect_timeout,
                command_timeout=self._command_timeout,
            )
        except ValueError as error:
            raise self._note(DatabaseRefused("dsn", str(error), permanent=True)) from None
        except DatabaseRefused as refusal:
            self._note(refusal)
            raise
        self._counts["opened"] += 1
        self._server_version = server_version(connection)
        return connection, generation

    def _give_back(self, connection: Connection, generation: int) -> None:
        if self._closed or generation != self._generation or connection.is_closed():
            self._terminate(connection)
        else:
            self._idle.append((connection, generation))

    def _terminate(self, connection: Connection) -> None:
        self._counts["terminated"] += 1
        connection.terminate()

    def _expire(self) -> None:
        """Drop idle connections and make listeners check theirs.

        The server is gone or demoted, and all connections of the family are on that server.
        """
        self._counts["expired"] += 1
        for database in self._family:
            database._generation += 1
            database._drop_idle()
            for look in database._listeners:
                look.set()

    def _drop_idle(self) -> None:
        while self._idle:
            self._terminate(self._idle.pop()[0])

    async def _close_idle(self) -> None:
        while self._idle:
            connection, _ = self._idle.pop()
            try:
                await connection.close(timeout=1)
            except (asyncpg.PostgresError, *DOUBTFUL):
                self._terminate(connection)

    def _translate(self, error: BaseException) -> Exception:
        """Return our exception for one of the driver's."""
        if isinstance(error, asyncpg.PostgresError):
            sqlstate = error.sqlstate or "XX000"
            return self._note(
                explain_error(sqlstate, getattr(error, "constraint_name", None), str(error))
            )
        return self._note(
            DatabaseAway(f"PostgreSQL does not answer: {_name_error(error)}", retry_after=0.2)
        )

    def _note(self, error: Exception) -> Exception:
        self._last_error = f"{type(error).__name__}: {error}"
        return error


def _name_error(error: BaseException) -> str:
    """Return the error's type and text; some, like a timeout, have no text."""
    return ": ".join(part for part in (type(error).__name__, str(error)) if part)


def _was_answered(error: BaseException) -> bool:
    """Return whether the server itself said that the COMMIT failed, in a session that goes on."""
    return isinstance(error, asyncpg.PostgresError) and not is_lost(error.sqlstate)
