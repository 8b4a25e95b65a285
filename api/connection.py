"""One client's connection: Hypercorn's, with an end to every write, every idle time and every wait at its close.

It speaks HTTP only (api/protocols.py), and tells the table when it waits for a request. Three more things of Hypercorn
0.18 on trio, with quart-trio, are put right here; api/server.py contains what is left.

* A write has no deadline, and is shielded: a client that stops reading holds a connection, and a shutdown, for as
  long as it likes.
* A response's last act tells the app "disconnected", upon which quart-trio cancels the task that was just about to
  close the connection or to start its idle timer. So a client that asked to close waited for ever, and a connection
  that had served one request was never timed out.
* A connection whose client has gone stays: for its timers, or for ever when its reader waits behind a pipelined
  request whose answer could not be written.

It must never decide what a failure means for others: it only ends itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from api.protocols import Protocol

if TYPE_CHECKING:
    from hypercorn.app_wrappers import ASGIWrapper
    from hypercorn.config import Config
    from hypercorn.trio.worker_context import WorkerContext

    from api.connection_table import ConnectionEntry, ConnectionTable
    from api.traffic import HttpTraffic

SHOW_KEY = "lastheard.show_key"  # in the scope's state: tells the table that a request came with a good key


class Connection(TCPServer):
    """One connection whose writes have a deadline. Its failures are contained by whoever runs it."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        *,
        write_seconds: float,
        traffic: HttpTraffic,
        table: ConnectionTable,
        entry: ConnectionEntry,
    ) -> None:
        # Hypercorn's annotation says TLS streams only; its code takes both, and TLS ends before this process.
        state = ConnectionState({SHOW_KEY: self._show_key})
        super().__init__(app, config, context, state, cast("Any", stream))
        self._socket = stream.socket
        self._write_seconds = write_seconds
        self._traffic = traffic
        self._reading = trio.CancelScope()
        self._table = table
        self._entry = entry
        self._tasks: trio.CancelScope | None = None
        self._over = False
        entry.connection = self

    async def run(self) -> None:
        """Serve until one side closes. What the protocol's code raises is the caller's to contain."""
        try:
            client = parse_socket_addr(self._socket.family, self._socket.getpeername())
            server = parse_socket_addr(self._socket.family, self._socket.getsockname())
            # Not entered as the context manager that it also is: that one lets a cancellation of its own nursery out.
            group = TaskGroup()
            async with trio.open_nursery() as nursery:
                group._nursery = nursery
                self._task_group = group
                self._tasks = nursery.cancel_scope
                self.protocol = Protocol(
                    self.app,
                    self.config,
                    self.context,
                    group,
                    self.state,
                    False,
                    client,
                    server,
                    self.protocol_send,
                    "http/1.1",
                )
                await self.idle_task.restart(group, self._idle_timeout)
                await self._read_data()
        except OSError:
            pass  # the client was gone before its address could be read
        finally:
            await self._close()

    def close_now(self) -> None:
        """Close the socket and end its tasks, without a word to the client. Does not block."""
        self._over = True
        self._socket.close()
        if self._tasks is not None:
            self._tasks.cancel()

    def _show_key(self) -> None:
        self._table.show_key(self._entry)

    async def _read_data(self) -> None:
        try:
            with self._reading:
                await super()._read_data()
        finally:
            self._over = True
            await self._let_go()

    async def _let_go(self) -> None:
        # Whoever connects and disconnects would else hold one of max_connections until the idle timer, or a
        # websocket's ping timer, runs out.
        with self._closing_scope():
            await self.idle_task.stop()
        if self._tasks is not None:
            self._tasks.deadline = min(self._tasks.deadline, self._write_deadline())

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if not await self._send_raw(event.data):
                await self._end()
        elif isinstance(event, Closed):
            await self._end()
        elif not self._over:
            if isinstance(event, Updated):
                self._note_idle(event.idle)
            with self._closing_scope():
                await super().protocol_send(event)

    def _note_idle(self, idle: bool) -> None:
        now = trio.current_time()
        if idle:
            self._table.end_request(self._entry, now)
        elif not self._entry.busy:
            self._table.begin_request(self._entry, now)

    async def _end(self) -> None:
        # The reader may be waiting for something else than bytes: its turn behind an unanswered request, or room in
        # the app's queue. Closing the socket does not wake it.
        self._over = True
        with self._closing_scope():
            await super().protocol_send(Closed())
        self._reading.cancel()

    def _closing_scope(self) -> trio.CancelScope:
        """For closing, and for the idle timer: whoever comes here may be cancelled already (see the module).

        The deadline is for the app's queue, which may be full.
        """
        return trio.CancelScope(shield=True, deadline=self._write_deadline())

    async def _send_raw(self, data: bytes) -> bool:
        # Shielded from before the lock: these bytes have left the protocol's state (h2: its header table too), so
        # dropping them would garble what follows. The lock's wait is bounded by the writes before it.
        with trio.CancelScope(shield=True):
            async with self.send_lock:
                written = await self._write(data)
        return written

    async def _write(self, data: bytes) -> bool:
        """Write all of `data`; False when the client is gone, or does not read and is cut off."""
        with trio.CancelScope(deadline=self._write_deadline()) as writing:
            try:
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
        if writing.cancelled_caught:
            self._traffic.write_timeouts += 1
            await trio.aclose_forcefully(self.stream)
        return not writing.cancelled_caught

    def _write_deadline(self) -> float:
        return trio.current_time() + self._write_seconds
