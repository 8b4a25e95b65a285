"""One client's connection: Hypercorn's, with a deadline for writes, for idle time and for closing.

It speaks HTTP only (api/protocols.py), and notes in the connection table when it waits for a
request. It corrects three faults of Hypercorn 0.18 on trio with quart-trio; api/server.py contains
the rest.

* Hypercorn's writes have no deadline and are shielded. A client that stops reading holds its
  connection, and a shutdown, without limit.
* At the end of a response Hypercorn tells the app "disconnected". Then quart-trio cancels the task
  that was about to close the connection or to start its idle timer. So a client that asked to close
  waited for ever, and a connection that had served one request was never timed out.
* A connection whose client has gone stays until its timers end. It stays for ever when its reader
  waits behind a pipelined request whose answer could not be written.

And it saves work at each request: Hypercorn ends and starts a task for the idle time, and enters
two scopes and a lock for each write.

It must never decide what a failure means for other connections: it only ends itself.
"""

from __future__ import annotations

import math
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

    from api.connection_table import ConnectionEntry
    from api.server import ListenerParts

# In the scope's state: the function that notes in the table that a request came with a good key.
SHOW_KEY = "lastheard.show_key"
# Likewise, that the request is the stream of a live page.
SHOW_STREAM = "lastheard.show_stream"


class Connection(TCPServer):
    """One connection whose writes have a deadline. The caller of `run` contains its failures."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        *,
        parts: ListenerParts,
        entry: ConnectionEntry,
    ) -> None:
        # Hypercorn's annotation names TLS streams only, but its code takes plain ones too. TLS ends
        # before this process.
        state = ConnectionState({SHOW_KEY: self._show_key, SHOW_STREAM: self._show_stream})
        super().__init__(app, config, context, state, cast("Any", stream))
        self._socket = stream.socket
        self._write_seconds = parts.limits.write_seconds
        self._traffic = parts.traffic
        self._reading = trio.CancelScope()
        self._table = parts.table
        self._entry = entry
        self._tasks: trio.CancelScope | None = None
        self._over = False
        self._idle_until = trio.current_time() + config.keep_alive_timeout  # inf during a request
        self._idling = trio.CancelScope()
        entry.connection = self

    async def run(self) -> None:
        """Serve until one side closes. Raises what the protocol's code raises."""
        try:
            client = parse_socket_addr(self._socket.family, self._socket.getpeername())
            server = parse_socket_addr(self._socket.family, self._socket.getsockname())
            # The group is not entered as a context manager: it would let the cancellation of its
            # own nursery out.
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
                nursery.start_soon(self._close_when_idle)
                await self._read_data()
        except OSError:
            pass  # the client was gone before its address could be read
        finally:
            await self._close()

    def close_now(self) -> None:
        """Close the socket and end its tasks, without an answer to the client. Does not block."""
        self._over = True
        self._socket.close()
        if self._tasks is not None:
            self._tasks.cancel()

    def _show_key(self) -> None:
        self._table.show_key(self._entry)

    def _show_stream(self) -> None:
        self._table.show_stream(self._entry)

    async def _read_data(self) -> None:
        try:
            with self._reading:
                await super()._read_data()
        finally:
            self._over = True
            self._end_after_disconnect()

    def _end_after_disconnect(self) -> None:
        # Otherwise a client that connects and disconnects would hold one of max_connections until
        # the idle time runs out.
        self._idling.cancel()
        if self._tasks is not None:
            self._tasks.deadline = min(self._tasks.deadline, self._write_deadline())

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if not await self._send_raw(event.data):
                await self._end()
        elif isinstance(event, Closed):
            await self._end()
        elif isinstance(event, Updated) and not self._over:
            self._note_idle(event.idle)

    def _note_idle(self, idle: bool) -> None:
        now = trio.current_time()
        if idle:
            self._table.end_request(self._entry, now)
        elif not self._entry.busy:
            self._table.begin_request(self._entry, now)
        self._idle_until = now + self.config.keep_alive_timeout if idle else math.inf
        if idle and self.context.terminated.is_set():
            self._idling.cancel()
        else:
            self._idling.deadline = self._idle_until

    async def _close_when_idle(self) -> None:
        """Close the connection when it has waited too long for a request, or the server ends.

        One task for the whole life of the connection. A request that comes just when the time is up
        is served, and the connection goes on.
        """
        while not self._over:
            with trio.CancelScope(deadline=self._idle_until) as self._idling:
                await self.context.terminated.wait()
                if not self._is_idle:
                    await trio.sleep_forever()  # until the last request is served
            if self._is_idle:
                await self._end()

    @property
    def _is_idle(self) -> bool:
        return self._idle_until < math.inf

    async def _end(self) -> None:
        # The reader may wait for its turn behind an unanswered request, or for room in the app's
        # queue. Closing the socket does not end these waits; cancelling the reader does.
        self._over = True
        with self._closing_scope():
            await super().protocol_send(Closed())
        self._reading.cancel()

    def _closing_scope(self) -> trio.CancelScope:
        """Return a shielded scope for closing, with the deadline of a write.

        Shielded because the calling task may be cancelled already (see the module). The deadline
        bounds the wait for the app's queue, which may be full.
        """
        return trio.CancelScope(shield=True, deadline=self._write_deadline())

    async def _send_raw(self, data: bytes) -> bool:
        """Write all of `data`; return False when the client is gone, or is cut off."""
        # The shield includes the wait for the lock. The protocol's state already counts these bytes
        # as sent (h2: its header table too), so dropping them would garble the bytes after them.
        # The writes before this one have deadlines, which bound the wait.
        with trio.CancelScope(shield=True) as writing:
            if self.send_lock.locked():
                await self.send_lock.acquire()
            else:
                self.send_lock.acquire_nowait()  # without a turn of the loop, unlike `acquire`
            try:
                writing.deadline = self._write_deadline()
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            finally:
                self.send_lock.release()
        if writing.cancelled_caught:
            self._traffic.write_timeouts += 1
            with self._closing_scope():
                await trio.aclose_forcefully(self.stream)
        return not writing.cancelled_caught

    def _write_deadline(self) -> float:
        return trio.current_time() + self._write_seconds
