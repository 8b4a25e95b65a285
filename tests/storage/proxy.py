"""A TCP proxy between the gateway and PostgreSQL.

It counts round trips, freezes, and loses a connection at a word of the client's.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit, urlunsplit

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Answers:
    """The server's messages on one connection: a letter, a length that counts itself, the rest."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._to_skip = 0

    def count_ready(self, data: bytes | bytearray) -> int:
        """Return how often the server said ReadyForQuery: once for each Query or Sync."""
        ready = 0
        while data:
            skipped, data = min(self._to_skip, len(data)), data[self._to_skip :]
            self._to_skip -= skipped
            wanted = 5 - len(self._head)
            self._head += data[:wanted]
            data = data[wanted:]
            if len(self._head) == 5:
                ready += self._head[:1] == b"Z"
                self._to_skip = int.from_bytes(self._head[1:], "big") - 4
                self._head.clear()
        return ready


class Proxy:
    """A proxy before PostgreSQL that freezes, cuts connections and counts round trips.

    `freeze` stops forwarding both ways; connections stay open. `cut_at` ends the connection whose
    client says the word: `before` the server hears it, or after, once it has answered.
    `round_trips` counts how often a client waited for the server, on all connections together, the
    login included.
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
        self._parts = parts
        self._thawed = trio.Event()
        self._thawed.set()
        self._word: bytes | None = None
        self._before = False
        self.port = 0
        self.round_trips = 0

    @property
    def dsn(self) -> str:
        user = self._parts.username or "postgres"
        return urlunsplit(
            ("postgresql", f"{user}@127.0.0.1:{self.port}", self._parts.path, "sslmode=disable", "")
        )

    def freeze(self) -> None:
        self._thawed = trio.Event()

    def thaw(self) -> None:
        self._thawed.set()

    def cut_at(self, word: bytes, *, before: bool) -> None:
        self._word, self._before = word, before

    async def serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_unix_socket(self._socket)
        losing = trio.Event()
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._answer, server, client, losing, nursery.cancel_scope)
            await self._ask(client, server, losing)
            if losing.is_set():
                await (
                    trio.sleep_forever()
                )  # until the server has answered; the caller's own bounds end it otherwise
            nursery.cancel_scope.cancel()

    async def _ask(
        self, client: trio.SocketStream, server: trio.SocketStream, losing: trio.Event
    ) -> None:
        """Client to server, until the client ends or has said the word."""
        async for data in client:
            await self._thawed.wait()
            if self._word is not None and self._word in data:
                self._word = None
                if not self._before:
                    losing.set()
                    await server.send_all(data)
                return
            await server.send_all(data)

    async def _answer(
        self,
        server: trio.SocketStream,
        client: trio.SocketStream,
        losing: trio.Event,
        scope: trio.CancelScope,
    ) -> None:
        answers = Answers()
        try:
            async for data in server:
                self.round_trips += answers.count_ready(data)
                await self._thawed.wait()
                if losing.is_set():
                    break
                await client.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def open_proxy(dsn: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(dsn)

    async def handle(client: trio.SocketStream) -> None:
        try:
            await proxy.serve(client)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            # either end may vanish at any time, or be away from the start: that is what the proxy
            # is for
            pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield proxy
        nursery.cancel_scope.cancel()
