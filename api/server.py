"""Runs Hypercorn's protocol code on sockets of ours, beside the actors and never above them.

Hypercorn 0.18 speaks HTTP/1.1, h2 and websockets well, but on trio its runner has three faults that one client can
turn against the whole process; so this module takes its `TCPServer` (one connection) and replaces its runner:

* An exception in one connection leaves `TCPServer.run` and cancels the nursery of all connections. A websocket
  upgrade followed by stray bytes is enough, or one frame after a refused upgrade. `_Server.serve` contains it: that
  connection is cut, the failure counted and logged.
* A write has no deadline, and is shielded: a client that stops reading holds a connection, and a shutdown, for as
  long as it likes. `Connection.protocol_send` gives each write one and then treats the client as gone.
* Background tasks of the app are children of the server, and when one crashes the server goes on without it. Here
  the app gets no lifespan at all, so it can have none; whatever must run is an actor, supervised elsewhere.

Subclassing and an accept loop of our own need no patching of Hypercorn; the price is that pieces of its source
are relied upon or replaced. tests/api/test_server_pins.py
pins them and says what to check when they change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.logging import Logger
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from api.traffic import HttpTraffic

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework
    from quart_trio import QuartTrio

ACCEPT_RETRY_SECONDS = 0.1
LOG_EVERY_SECONDS = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds of the listener and of one connection. Durations in seconds."""

    max_connections: int = 1000  # further ones are closed at once
    backlog: int = 256
    # Idle between requests, and for the headers of one to arrive. Longer than a load balancer's own idle timeout
    # (commonly 60 s), which else sends a request into a connection that is just being closed.
    keep_alive_seconds: float = 65.0
    write_seconds: float = 5.0  # one write, at most 32 KiB of a body
    max_header_bytes: int = 16 * 1024
    max_streams: int = 32  # of one h2 connection
    max_websocket_message_bytes: int = 64 * 1024
    websocket_ping_seconds: float = 20.0


async def serve_http(
    app: QuartTrio,
    *,
    host: str,
    port: int,
    stop: trio.Event,
    graceful_seconds: float,
    limits: ServerLimits | None = None,
    traffic: HttpTraffic | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `stop` is set; the started value is the bound port (`port=0` lets the system choose).

    `host` is an address, not a name: a name may stand for several, and port 0 would differ between them. Raises
    OSError when the address cannot be bound. After `stop`: no new connections, idle ones close, requests in flight
    have `graceful_seconds`, then they are cancelled and their clients see the connection close; it returns at most
    `graceful_seconds` + `write_seconds` after `stop`. Cancelling it skips the grace.
    """
    _refuse_lifespan_functions(app)
    limits = limits or ServerLimits()
    server = _Server(app, limits, traffic or HttpTraffic())
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=limits.backlog)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(server.accept, listener, connections)
            task_status.started(listeners[0].socket.getsockname()[1])
            await stop.wait()  # no deadline: serving lasts as long as the process
            accepting.cancel_scope.cancel()
        await server.start_ending()
        connections.cancel_scope.deadline = trio.current_time() + graceful_seconds


def _refuse_lifespan_functions(app: QuartTrio) -> None:
    if app.before_serving_funcs or app.after_serving_funcs or app.while_serving_gens:
        raise RuntimeError(
            "The app has before_serving, after_serving or while_serving functions, and they would never run: "
            "serve_http gives it no lifespan. What must start, run or stop with the process belongs to an actor."
        )


class _Server:
    """What all connections share."""

    def __init__(self, app: QuartTrio, limits: ServerLimits, traffic: HttpTraffic) -> None:
        self._app = ASGIWrapper(cast("ASGIFramework", app))
        self._limits = limits
        self._traffic = traffic
        self._config = _hypercorn_config(limits)
        self._context = WorkerContext(None)
        self._quiet_until: dict[str, float] = {}

    async def accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        """Take connections until cancelled. A failing accept (no descriptors left, say) is retried, never fatal."""
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    self._note_accept_failure(error)
                    await trio.sleep(ACCEPT_RETRY_SECONDS)
                else:
                    await self._admit(stream, connections)

    async def _admit(self, stream: trio.SocketStream, connections: trio.Nursery) -> None:
        if self._traffic.connections_open >= self._limits.max_connections:
            self._traffic.connections_refused += 1
            await trio.aclose_forcefully(stream)
            return
        # Counted here, not in the task: many may be accepted before the first of their tasks runs.
        self._traffic.connections_open += 1
        connections.start_soon(self._serve, stream)

    async def start_ending(self) -> None:
        """Close idle connections now, and each of the others after its present request."""
        await self._context.terminated.set()

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = Connection(
            self._app, self._config, self._context, stream, limits=self._limits, traffic=self._traffic
        )
        try:
            await connection.run()
        except* Exception as failures:
            self._note_contained(failures)
        finally:
            self._traffic.connections_open -= 1
            await trio.aclose_forcefully(stream)

    def _note_accept_failure(self, error: OSError) -> None:
        self._traffic.accept_failures += 1
        if self._may_log("accept"):
            _log.error("http_accept_failed", error=repr(error), accept_failures=self._traffic.accept_failures)

    def _note_contained(self, failures: ExceptionGroup[Exception]) -> None:
        self._traffic.contained_failures += 1
        if self._may_log("contained"):
            count = self._traffic.contained_failures
            _log.warning("http_connection_failed", failure=repr(_first_cause(failures)), contained_failures=count)

    def _may_log(self, what: str) -> bool:
        """At most one line of a kind in a while: any client can cause these as often as it likes."""
        now = trio.current_time()
        if now < self._quiet_until.get(what, -math.inf):
            return False
        self._quiet_until[what] = now + LOG_EVERY_SECONDS
        return True


def _first_cause(failures: BaseException) -> BaseException:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures


class Connection(TCPServer):
    """One connection whose writes have a deadline. Its failures are contained by whoever runs it."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        *,
        limits: ServerLimits,
        traffic: HttpTraffic,
    ) -> None:
        # Hypercorn's annotation says TLS streams only; its code takes both, and TLS ends before this process.
        super().__init__(app, config, context, ConnectionState({}), cast("Any", stream))
        self._limits = limits
        self._traffic = traffic
        self._reading = trio.CancelScope()
        self._over = False

    async def _read_data(self) -> None:
        try:
            with self._reading:
                await super()._read_data()
        finally:
            self._over = True
            await self._let_go()

    async def _let_go(self) -> None:
        # Upstream waits for every task of a connection whose client has gone: its idle timer, its websocket's ping
        # timer. Whoever connects and disconnects would hold one of max_connections for as long.
        with self._closing_scope():
            await self.idle_task.stop()
        tasks = self._task_group._nursery
        if tasks is not None:
            tasks.cancel_scope.deadline = min(tasks.cancel_scope.deadline, self._write_deadline())

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if not await self._send_raw(event.data):
                await self._end()
        elif isinstance(event, Closed):
            await self._end()
        elif not self._over:
            with self._closing_scope():
                await super().protocol_send(event)

    async def _end(self) -> None:
        # The reader may be waiting for something else than bytes: for its turn, behind a request whose answer could
        # not be written, or for room in the app's queue. Upstream forgets it there, and with it the connection.
        self._over = True
        with self._closing_scope():
            await super().protocol_send(Closed())
        self._reading.cancel()

    def _closing_scope(self) -> trio.CancelScope:
        """For closing, and for the idle timer. The deadline is for the app's queue, which may be full.

        Shielded, since a response's last act tells the app "disconnected", upon which quart-trio cancels the very task
        that then comes here; without the shield the connection is neither closed nor ever timed out.
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
        return trio.current_time() + self._limits.write_seconds


class _StructlogLogger(Logger):
    """Hypercorn's log calls as events of ours. Access lines are dropped: the traffic counters and traces say it."""

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        pass

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        _log.exception("http_application_failed", message=message)

    async def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        _log.warning("http_server_warning", message=message)

    async def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        _log.error("http_server_error", message=message)


def _hypercorn_config(limits: ServerLimits) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.logger_class = _StructlogLogger
    config.include_server_header = False
    config.keep_alive_timeout = limits.keep_alive_seconds
    config.h11_max_incomplete_size = limits.max_header_bytes
    config.h2_max_header_list_size = limits.max_header_bytes
    config.h2_max_concurrent_streams = limits.max_streams
    config.websocket_max_message_size = limits.max_websocket_message_bytes
    config.websocket_ping_interval = limits.websocket_ping_seconds
    return config
