"""Two servers behind one DSN: whoever may write is found, and whoever may not any more is left."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.faults import EnvironmentFault
from storage.embedded import EmbeddedPostgres
from storage.faults import DatabaseAway
from storage.gateway import Database, open_bridge
from storage.notices import CHANNEL, PostgresNotices
from storage.timeouts import Timeouts
from tests.conftest import execute, fetch
from tests.postgres import FAST_SETTINGS, public_folder
from tests.storage.proxy import open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from storage.gateway import Connection

pytestmark = pytest.mark.postgres

WHERE = "SELECT current_setting('cluster_name')"
DEFAULT = "SHOW default_transaction_read_only"


class Server:
    """A cluster of its own; what it holds does not matter here, only whether it writes."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        folder = stack.enter_context(public_folder(f"lastheard-run-{name}-"))
        self._signal = folder / "postgres" / "cluster" / "standby.signal"
        self._server = EmbeddedPostgres(
            folder, extra_settings={**FAST_SETTINGS, "cluster_name": name}
        )
        stack.callback(trio.run, self._server.stop)
        trio.run(self._server.start)
        self.dsn = self._server.dsn

    async def stop(self) -> None:
        await self._server.stop()

    async def start_as_standby(self) -> None:
        """Make the server a standby: like a former primary, it answers reads only."""
        self._signal.touch()
        owner = self._signal.parent.stat()
        os.chown(self._signal, owner.st_uid, owner.st_gid)
        await self._server.start()

    async def promote(self) -> None:
        await trio.to_thread.run_sync(execute, self.dsn, "SELECT pg_promote()")

    @asynccontextmanager
    async def reading_only(self) -> AsyncIterator[None]:
        """As a managed service demotes a server: sessions that are open stay open."""
        await self._change("SET default_transaction_read_only = on", "on")
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._change("RESET default_transaction_read_only", "off")

    async def _change(self, change: str, result: str) -> None:
        steps = (
            "SET default_transaction_read_only = off",
            f"ALTER SYSTEM {change}",
            "SELECT pg_reload_conf()",
        )
        await trio.to_thread.run_sync(execute, self.dsn, *steps)
        # The reload only sends a signal: wait until new sessions have heard of it.
        with trio.fail_after(10):
            while await trio.to_thread.run_sync(fetch, self.dsn, DEFAULT) != [(result,)]:
                pass


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        yield Server("first", stack), Server("second", stack)


def several(*ports: int) -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return (
        f"postgresql://postgres@{hosts}/lastheard?target_session_attrs=read-write&sslmode=disable"
    )


async def ask_where(connection: Connection) -> str:
    answer: str = await connection.fetchval(WHERE)
    return answer


async def write_where(connection: Connection) -> str:
    await connection.execute("CREATE TABLE IF NOT EXISTS notes (note text)")
    return await ask_where(connection)


async def wait_until_writes_reach(database: Database, name: str) -> None:
    where = ""
    with trio.fail_after(20):
        while where != name:
            try:
                where = await database.run(write_where)
            except EnvironmentFault:
                await trio.lowlevel.checkpoint()


class Ear:
    """What a listener was told; each wait has a deadline."""

    def __init__(self) -> None:
        self.tell, self._receive = trio.open_memory_channel[str](100)

    async def hears(self, notice: str) -> None:
        with trio.fail_after(20):
            assert await self._receive.receive() == notice


@asynccontextmanager
async def listening(database: Database, *, check_seconds: float = 10.0) -> AsyncIterator[Ear]:
    """From when the first connection listens; the bare notice says so, then as later."""
    ear, notices = Ear(), PostgresNotices(database, Random(1), check_seconds=check_seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notices.listen, ear.tell.send_nowait)
        await ear.hears("")
        yield ear
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def gateway_to(*servers: Server) -> AsyncIterator[Database]:
    """To all of them, in this order, over TCP ports."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_bridge())
        proxies = [await stack.enter_async_context(open_proxy(server.dsn)) for server in servers]
        database = Database(several(*(proxy.port for proxy in proxies)))
        yield database
        await database.aclose()


async def test_hosts_that_refuse_are_silent_or_only_read_are_skipped(
    servers: tuple[Server, Server],
) -> None:
    first, second = servers
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # and never listens
        async with (
            open_bridge(),
            first.reading_only(),
            open_proxy(second.dsn) as silent,
            open_proxy(first.dsn) as reading,
            open_proxy(second.dsn) as good,
        ):
            silent.freeze()
            dsn = several(refusing.getsockname()[1], silent.port, reading.port, good.port)
            database = Database(dsn, timeouts=Timeouts(connect=2))
            assert await database.run(write_where) == "second"
            await database.aclose()


async def test_the_listener_makes_connections_leave_a_demoted_server(
    servers: tuple[Server, Server],
) -> None:
    first, second = servers
    async with gateway_to(first, second) as database, listening(database, check_seconds=0.1) as ear:
        assert await database.run(ask_where, readonly=True) == "first"
        async with first.reading_only():
            await ear.hears("")
            # A read would have been answered there for ever.
            assert await database.run(ask_where, readonly=True) == "second"


async def test_a_write_refused_by_a_demoted_server_moves_connections(
    servers: tuple[Server, Server],
) -> None:
    first, second = servers
    async with gateway_to(first, second) as database:
        assert await database.run(write_where) == "first"
        async with first.reading_only():
            await wait_until_writes_reach(database, "second")
        assert database.statistics().expired == 1


async def test_a_write_refused_by_a_demoted_server_moves_the_listener(
    servers: tuple[Server, Server],
) -> None:
    first, second = servers
    async with gateway_to(first, second) as database, listening(database, check_seconds=600) as ear:
        assert await database.run(write_where) == "first"
        async with first.reading_only():
            await wait_until_writes_reach(database, "second")
            await ear.hears("")


async def test_a_server_that_falls_silent_costs_one_timeout_only(
    servers: tuple[Server, Server],
) -> None:
    first, second = servers
    async with (
        open_bridge(),
        open_proxy(first.dsn) as falling_silent,
        open_proxy(second.dsn) as good,
    ):
        dsn = several(falling_silent.port, good.port)
        database = Database(dsn, pool_size=3, timeouts=Timeouts(connect=4, command=0.5))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(
                    database.run, lambda connection: connection.fetchval("SELECT pg_sleep(0.1)")
                )
        assert database.statistics().idle == 3
        falling_silent.freeze()
        with pytest.raises(DatabaseAway):
            await database.run(ask_where)
        assert await database.run(ask_where) == "second"  # after half of the time to connect
        with trio.fail_after(1):
            assert await database.run(ask_where, fresh=True) == "second"
        await database.aclose()


async def test_calls_and_listener_follow_a_failover(servers: tuple[Server, Server]) -> None:
    first, second = servers
    await second.stop()
    await second.start_as_standby()
    async with gateway_to(first, second) as database, listening(database) as ear:
        assert await database.run(write_where) == "first"
        await first.stop()
        await second.promote()
        await first.start_as_standby()
        await wait_until_writes_reach(database, "second")
        await ear.hears("")
        await database.run(
            lambda connection: connection.execute("SELECT pg_notify($1, 'leases')", CHANNEL)
        )
        await ear.hears("leases")
