"""The HTTP server: Hypercorn's protocol code on our own sockets, a sibling of the actors.

Hypercorn 0.18 speaks HTTP/1.1 and h2 well, but its runner on trio has two faults that can end the
whole process or parts of it. So this module uses its connections, as corrected in
api/connection.py, and replaces its runner:

* An exception in one connection cancels the nursery of all connections. A websocket upgrade
  followed by stray bytes was enough, or one frame after a refused upgrade (api/protocols.py now
  offers no upgrade). `_Server._serve` contains any other exception: it cuts that connection, counts
  the failure and logs it.
* Background tasks of the app are children of the server, and when one crashes the server goes on
  without it. Here the app gets no lifespan, so it has no such task. Work in the background is an
  actor's.

Hypercorn is not patched, so we depend on parts of its source or replace them.
tests/api/test_server_pins.py pins these parts and says what to check when they change.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.worker_context import WorkerContext

from api.addresses import TrustedProxies
from api.connection import Connection
from api.connection_table import ConnectionTable
from api.traffic import HttpTraffic
from runtime.exception_groups import first_leaf
from runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import ASGIFramework
    from quart_trio import QuartTrio

    from api.connection_table import ConnectionEntry

ACCEPT_RETRY_SECONDS = 0.1
ACCEPT_BATCH = 64

_log = get_logger("http")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds of the listener and of one connection. Durations in seconds."""

    max_connections: int = 1000  # beyond it another connection is closed (api/connection_table.py)
    max_connections_per_address: int = 200  # not of a trusted proxy
    backlog: int = 256
    # For idle time between requests, and for a request's headers to arrive. It is longer than a
    # load balancer's idle timeout (commonly 60 s); otherwise the load balancer would send a request
    # into a connection that is just being closed.
    keep_alive_seconds: float = 65.0
    write_seconds: float = 5.0  # one write, at most 32 KiB of a body
    max_header_bytes: int = 16 * 1024
    max_streams: int = 32  # of one h2 connection


# For the probes' own listener: probes are rare, and close their connection.
PROBE_LIMITS = ServerLimits(
    max_connections=64,
    max_connections_per_address=64,
    backlog=64,
    keep_alive_seconds=15.0,
    write_seconds=2.0,
    max_header_bytes=4096,
    max_streams=4,
)


@dataclass(frozen=True, slots=True)
class ListenerParts:
    """The limits, counters and table that all connections of one listener share."""

    limits: ServerLimits
    traffic: HttpTraffic
    table: ConnectionTable
    # Closes a connection, of this listener or of another, when no file descriptor is left.
    make_room: Callable[[], bool]


async def serve_http(
    app: QuartTrio,
    *,
    host: str,
    port: int,
    stop: trio.Event,
    graceful_seconds: float,
    parts: ListenerParts | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `stop` is set. The started value is the bound port; 0 picks a free one.

    `host` is an address, not a name: a name may have several addresses, and port 0 would differ
    between them. Raises OSError when the address cannot be bound.

    After `stop` no connection is accepted and idle ones close. Requests in flight have
    `graceful_seconds`; then they are cancelled and answered with a 503 (api/frame.py). A client
    that does not read can add `write_seconds` to that. Cancelling this function skips the grace.

    `parts` are by default new ones with the default limits.
    """
    _refuse_lifespan_functions(app)
    parts = parts or make_listener_parts(ServerLimits(), HttpTraffic())
    server = _Server(app, parts)
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=parts.limits.backlog)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(server.accept, listener, connections)
            task_status.started(listeners[0].socket.getsockname()[1])
            await stop.wait()  # no deadline: serving lasts as long as the process
            accepting.cancel_scope.cancel()
        await server.start_ending()
        connections.cancel_scope.deadline = trio.current_time() + graceful_seconds


def make_listener_parts(
    limits: ServerLimits, traffic: HttpTraffic, proxies: TrustedProxies | None = None
) -> ListenerParts:
    """Return the parts of a listener that makes room among its own connections.

    Trusted proxies are exempt from the limit per address.
    """
    table = ConnectionTable(
        max_connections=limits.max_connections,
        max_per_address=limits.max_connections_per_address,
        traffic=traffic,
        exempt=(proxies or TrustedProxies()).trusts,
    )
    return ListenerParts(limits, traffic, table, table.make_room)


def _refuse_lifespan_functions(app: QuartTrio) -> None:
    if app.before_serving_funcs or app.after_serving_funcs or app.while_serving_gens:
        raise RuntimeError(
            "The app has before_serving, after_serving or while_serving functions, "
            "and they would never run: serve_http gives it no lifespan. "
            "What must start, run or stop with the process belongs to an actor."
        )


class _Server:
    """The app, limits and counters that all connections of a listener share."""

    def __init__(
        self,
        app: QuartTrio,
        parts: ListenerParts,
    ) -> None:
        self._app = ASGIWrapper(cast("ASGIFramework", app))
        self._parts = parts
        self._traffic = parts.traffic
        self._table = parts.table
        self._config = _hypercorn_config(parts.limits)
        self._context = WorkerContext(None)

    async def accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        """Accept connections until cancelled.

        A failed accept, for instance without a descriptor left, is retried and never fatal.
        """
        with socket.socket(fileno=listener.socket.detach()) as listening:
            listening.setblocking(False)
            while True:
                await trio.lowlevel.wait_readable(listening)
                try:
                    self._accept_batch(listening, connections)
                except OSError as error:
                    self._note_accept_failure(error)
                    made_room = (
                        error.errno in (errno.EMFILE, errno.ENFILE) and self._parts.make_room()
                    )
                    await trio.sleep(0 if made_room else ACCEPT_RETRY_SECONDS)

    def _accept_batch(self, listening: socket.socket, connections: trio.Nursery) -> None:
        """Accept the waiting connections, up to ACCEPT_BATCH.

        One connection in each round of a busy loop would be too slow.
        """
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            entry = self._table.admit(peer[0] if peer else "", trio.current_time())
            if entry is None:
                accepted.close()
            else:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
                # Made here and not in its task: the next connection of this batch may require that
                # this one is closed.
                connections.start_soon(self._serve, self._connect(stream, entry), stream, entry)

    async def start_ending(self) -> None:
        """Close idle connections now, and each other one after its present request."""
        await self._context.terminated.set()

    def _connect(self, stream: trio.SocketStream, entry: ConnectionEntry) -> Connection:
        return Connection(
            self._app,
            self._config,
            self._context,
            stream,
            parts=self._parts,
            entry=entry,
        )

    async def _serve(
        self, connection: Connection, stream: trio.SocketStream, entry: ConnectionEntry
    ) -> None:
        try:
            await connection.run()
        except* Exception as failures:
            self._note_contained(failures)
        finally:
            self._table.leave(entry)
            await trio.aclose_forcefully(stream)

    def _note_accept_failure(self, error: OSError) -> None:
        self._traffic.accept_failures += 1
        count = self._traffic.accept_failures
        _log.error("http_accept_failed", error=repr(error), accept_failures=count, without_key=True)

    def _note_contained(self, failures: ExceptionGroup[Exception]) -> None:
        self._traffic.contained_failures += 1
        cause, count = first_leaf(failures), self._traffic.contained_failures
        _log.warning(
            "http_connection_failed",
            error=repr(cause),
            contained_failures=count,
            without_key=True,
        )


class _StructlogLogger(Logger):
    """Hypercorn's log calls as events of our log, limited: any client can cause many of them.

    Access lines are dropped: the traffic counters and the trace ids serve instead.
    """

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        pass

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        _log.error("http_application_failed", error=message, exc_info=True, without_key=True)

    async def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        _log.warning("http_server_warning", error=message, without_key=True)

    async def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        _log.error("http_server_error", error=message, without_key=True)


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
    return config
