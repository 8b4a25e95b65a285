"""A small app behind the real server on loopback, and raw clients for it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
from quart import Response, abort, request, websocket
from quart_trio import QuartTrio

from api.bodies import json_response
from api.frame import FrameLimits, install_frame
from api.gate import OpenGate
from api.problems import install_problem_handlers
from api.server import ServerLimits, make_listener_parts, serve_http
from api.traffic import HttpTraffic

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from api.connection_table import ConnectionTable

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PATIENCE_SECONDS = 5.0  # how long a test waits for what must happen, on a busy machine


@dataclass
class Served:
    """A running server: its port, its counters, and events of its handlers."""

    port: int = 0
    traffic: HttpTraffic = field(default_factory=HttpTraffic)
    table: ConnectionTable = field(init=False)
    stop: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    slow_started: trio.Event = field(default_factory=trio.Event)
    slow_cancelled: trio.Event = field(default_factory=trio.Event)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def exchange(self, *pieces: bytes) -> bytes:
        """Send the pieces, then read until the server closes."""
        stream = await self.connect()
        async with stream:
            for piece in pieces:
                await stream.send_all(piece)
            return await read_to_end(stream)

    async def is_alive(self) -> bool:
        with trio.fail_after(PATIENCE_SECONDS):
            answer = await self.exchange(
                b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
        return answer.startswith(b"HTTP/1.1 200 ")

    async def wait_for_count(self, name: str, wanted: int) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while getattr(self.traffic, name) != wanted:  # noqa: ASYNC110 - a counter has no event
                await trio.sleep(0.005)


async def read_to_end(stream: trio.SocketStream) -> bytes:
    received = bytearray()
    with trio.fail_after(PATIENCE_SECONDS):
        try:
            async for data in stream:
                received += data
        except trio.BrokenResourceError:
            received += b"<reset>"
    return bytes(received)


@asynccontextmanager
async def served(
    *,
    frame: FrameLimits | None = None,
    server: ServerLimits | None = None,
    graceful_seconds: float = 0.2,
    max_in_flight: int = 128,
) -> AsyncIterator[Served]:
    state = Served()
    parts = make_listener_parts(server or ServerLimits(), state.traffic)
    state.table = parts.table
    app = make_app(state, frame, max_in_flight)
    serve: Any = partial(
        serve_http,
        app,
        host="127.0.0.1",
        port=0,
        stop=state.stop,
        graceful_seconds=graceful_seconds,
        parts=parts,
    )

    async def run(task_status: trio.TaskStatus[int]) -> None:
        await serve(task_status=task_status)
        state.ended.set()

    async with trio.open_nursery() as nursery:
        state.port = await nursery.start(run)
        yield state
        state.stop.set()


async def trickle(
    *, pieces: int, pause_seconds: float = 0.0, wait_seconds: float = 0.0
) -> AsyncGenerator[bytes, None]:
    """Yield so many pieces, the first of them after `wait_seconds`."""
    await trio.sleep(wait_seconds)
    for _ in range(pieces):
        yield b"piece "
        await trio.sleep(pause_seconds)


def make_app(
    state: Served, frame: FrameLimits | None = None, max_in_flight: int = 128
) -> QuartTrio:
    app = QuartTrio(__name__)

    @app.get("/ok")
    async def ok() -> Response:
        return json_response({"ok": True})

    @app.post("/read")
    async def read() -> Response:
        body = await request.get_data(cache=False)
        return json_response({"bytes": len(body)})

    @app.get("/slow")
    async def slow() -> Response:
        state.slow_started.set()
        try:
            await trio.sleep_forever()
        finally:
            state.slow_cancelled.set()

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * 64_000_000)

    @app.get("/stream")
    async def stream() -> Response:
        return Response(trickle(pieces=4, pause_seconds=0.1))

    @app.get("/silent")
    async def silent() -> Response:
        return Response(trickle(pieces=1, wait_seconds=math.inf))

    @app.get("/context")
    async def context() -> Response:
        return json_response(structlog.contextvars.get_contextvars())

    @app.get("/healthz")
    async def healthz() -> Response:
        return json_response({})

    @app.websocket("/ws")
    async def ws() -> None:
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/ws-refused")
    async def ws_refused() -> None:
        abort(401)

    install_problem_handlers(app)
    install_frame(app, state.traffic, OpenGate(state.traffic, max_in_flight), frame)
    return app
