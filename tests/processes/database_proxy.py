"""A TCP proxy in front of PostgreSQL that can take the database away.

Owns the forwarding and three ways to disturb it: cut (connections break, new ones are closed at
once), frozen (bytes stay where they are, as behind a dead network), and one COMMIT whose answer is
lost. Of the protocol it knows only where a transaction begins and ends, and how a trace id looks
among parameters.
"""

from __future__ import annotations

import enum
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT_SECONDS: Final = 5.0
# Simple queries with type and length in front. No text that a client writes looks like this.
_COMMIT: Final = b"Q\0\0\0\x0bCOMMIT\0"
_BOUNDARIES: Final = (b"Q\0\0\0\x0aBEGIN\0", b"Q\0\0\0\x0dROLLBACK\0", _COMMIT)


class Condition(enum.Enum):
    OPEN = "open"
    CUT = "cut"
    FROZEN = "frozen"


class LostCommit(enum.Enum):
    """What happens to the COMMIT whose answer is lost."""

    CARRIED_OUT = "carried out"
    NEVER_ARRIVED = "never arrived"


class Transaction:
    """What a client has sent since its transaction began, whatever pieces it came in."""

    def __init__(self) -> None:
        self.sent = b""
        self.is_committed = False  # whether the newest bytes have a COMMIT

    def add(self, chunk: bytes | bytearray) -> None:
        if self.is_committed or self.sent.endswith(_BOUNDARIES):
            self.sent = b""
        self.sent += chunk
        self.is_committed = self.sent.endswith(_COMMIT)


class DatabaseProxy:
    """One listening socket. Each connection to it leads to one to the server of the DSN."""

    def __init__(self, dsn: str) -> None:
        self._target = dsn
        self._condition = Condition.OPEN
        self._changed = trio.Event()
        self._connections: set[trio.CancelScope] = set()
        self._losing: tuple[bytes, LostCommit] | None = None
        self._deaf: trio.CancelScope | None = None  # the connection that gets no answers
        self._port = 0
        self.commits_lost = 0

    @property
    def dsn(self) -> str:
        """The DSN for the process that is to go through the proxy."""
        parts = urlsplit(self._target)
        user = parts.username or "postgres"
        return urlunsplit(
            (parts.scheme, f"{user}@127.0.0.1:{self._port}", parts.path, "sslmode=disable", "")
        )

    def change(self, condition: Condition) -> None:
        """Set the condition. CUT breaks open connections; FROZEN only stops their bytes."""
        self._condition = condition
        self._changed.set()
        self._changed = trio.Event()
        if condition is Condition.CUT:
            for scope in self._connections:
                scope.cancel()

    def lose_commit_of(self, trace_id: str, fate: LostCommit) -> None:
        """Break the connection at the first COMMIT that stores this trace id, before its answer.

        A transaction that is rolled back does not count.
        """
        self._losing = (len(trace_id).to_bytes(4, "big") + trace_id.encode(), fate)

    async def listen(self, nursery: trio.Nursery) -> None:
        serve = partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        self._port = listeners[0].socket.getsockname()[1]

    async def _serve(self, client: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                await self._forward(client, scope)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # one side is gone, so the connection ends
            finally:
                self._connections.discard(scope)
                await trio.aclose_forcefully(client)

    async def _forward(self, client: trio.SocketStream, scope: trio.CancelScope) -> None:
        await self._wait_passable()
        if self._condition is Condition.CUT:
            return
        async with await self._connect() as server:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump_to_client, server, client, scope)
                    nursery.start_soon(self._pump_to_server, client, server, scope)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                await trio.aclose_forcefully(server)

    async def _connect(self) -> trio.SocketStream:
        parts = urlsplit(self._target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        host, port = (
            query.get("host", parts.hostname or "127.0.0.1"),
            query.get("port", parts.port or 5432),
        )
        with trio.fail_after(CONNECT_SECONDS):
            if host.startswith("/"):
                return await trio.open_unix_socket(f"{host}/.s.PGSQL.{port}")
            return await trio.open_tcp_stream(host, int(port))

    async def _pump_to_client(
        self, server: trio.SocketStream, client: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        while chunk := await server.receive_some():
            await self._wait_passable()
            if self._deaf is scope:
                break
            await client.send_all(chunk)
        scope.cancel()

    async def _pump_to_server(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        transaction = Transaction()
        while chunk := await client.receive_some():
            await self._wait_passable()
            transaction.add(chunk)
            if self._losing is not None:
                parameter, fate = self._losing
                if transaction.is_committed and parameter in transaction.sent:
                    self._losing = None
                    self.commits_lost += 1
                    if fate is LostCommit.CARRIED_OUT:
                        self._deaf = scope  # set before sending: the answer may come at once
                        await server.send_all(chunk)
                        await trio.sleep_forever()  # until the server has answered or is gone
                    break
            await server.send_all(chunk)
        scope.cancel()

    async def _wait_passable(self) -> None:
        """Wait until bytes may pass. No deadline: the test or the proxy's end ends a freeze."""
        while self._condition is Condition.FROZEN:
            await self._changed.wait()


@asynccontextmanager
async def open_proxy(dsn: str) -> AsyncIterator[DatabaseProxy]:
    proxy = DatabaseProxy(dsn)
    async with trio.open_nursery() as nursery:
        await proxy.listen(nursery)
        yield proxy
        nursery.cancel_scope.cancel()
