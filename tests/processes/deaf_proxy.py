"""A way to the database that can block notices; everything else passes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from tests.processes.database_proxy import DatabaseProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LISTEN: Final = b"LISTEN"


class DeafProxy(DatabaseProxy):
    """A proxy that, once deaf, breaks every connection that listens. So no LISTEN takes effect."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._listening: set[trio.CancelScope] = set()
        self._is_deaf = False
        self.refused = 0

    def deafen(self) -> None:
        self._is_deaf = True
        for scope in self._listening:
            scope.cancel()

    async def _pump_to_server(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        while chunk := await client.receive_some():
            if _LISTEN in chunk:
                self._listening.add(scope)
                if self._is_deaf:
                    self.refused += 1
                    break
            await server.send_all(chunk)
        scope.cancel()


@asynccontextmanager
async def open_deaf_proxy(dsn: str) -> AsyncIterator[DeafProxy]:
    proxy = DeafProxy(dsn)
    async with trio.open_nursery() as nursery:
        await proxy.listen(nursery)
        yield proxy
        nursery.cancel_scope.cancel()
