"""Streams over real sockets: what cuts them off, what does not, and the end of the server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from api.app import create_app
from api.frame import FrameLimits
from api.gate import GateLimits
from api.in_flight import InFlightLimits
from api.pages.live_limits import StreamLimits
from api.pages.viewer import COOKIE
from api.server import ServerLimits, make_listener_parts, serve_http
from api.traffic import HttpTraffic
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from tests.api.harness import Harness

PATIENCE_SECONDS = 60.0


@dataclass
class Served:
    """A running server with the pages. `ended` is set when it has ended."""

    port: int
    cookie: str
    traffic: HttpTraffic
    stop: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    opened: list[trio.SocketStream] = field(default_factory=list)

    async def open(self, path: str = "/workspaces/north/live") -> trio.SocketStream:
        """Ask for a stream, on a connection of its own."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.opened.append(stream)
        head = f"GET {path} HTTP/1.1\r\nHost: a\r\nCookie: {COOKIE}={self.cookie}\r\n\r\n"
        await stream.send_all(head.encode())
        return stream

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until a counter says so. The test's patience is the deadline."""
        while not is_so():  # noqa: ASYNC110 - counters wake nobody
            await trio.sleep(0.02)


@asynccontextmanager
async def served(
    harness: Harness, server: ServerLimits | None = None, **changes: Any
) -> AsyncIterator[Served]:
    traffic = HttpTraffic()
    visitor = await visit(harness)
    parts = make_listener_parts(server or ServerLimits(), traffic)
    app = create_app(harness.make_services(traffic=traffic, **changes))
    state = Served(0, visitor.cookie or "", traffic)
    serve: Any = partial(
        serve_http,
        app,
        host="127.0.0.1",
        port=0,
        stop=state.stop,
        graceful_seconds=PATIENCE_SECONDS,
        parts=parts,
    )

    async def run(task_status: trio.TaskStatus[int]) -> None:
        await serve(task_status=task_status)
        state.ended.set()

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            state.port = await nursery.start(run)
            yield state
            for stream in state.opened:
                await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()


async def read_until(stream: trio.SocketStream, text: bytes, times: int = 1) -> bytes:
    """Return what came up to the text. Fails when the stream ends before it."""
    found = b""
    while found.count(text) < times:
        chunk = await stream.receive_some(65536)
        assert chunk, found
        found += chunk
    return found


async def test_no_limit_of_a_request_cuts_a_stream_off(harness: Harness) -> None:
    short = FrameLimits(request_deadline_seconds=0.5, response_seconds=0.1, drain_seconds=0.1)
    limits = StreamLimits(beat=0.1)
    server = ServerLimits(keep_alive_seconds=0.1)
    async with served(harness, server, limits=short, stream_limits=limits) as state:
        stream = await state.open()
        await read_until(stream, b"event: beat", times=9)
        assert (state.traffic.streams_open, state.traffic.in_flight) == (1, 0)


async def test_a_browser_that_does_not_read_is_cut_off(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_beat = b": " + b"x" * 1_000_000 + b"\n\n"  # more than the kernel keeps, in a few of them
    monkeypatch.setattr("api.pages.live_stream._beat", lambda _: long_beat)
    server = ServerLimits(write_seconds=0.2)
    async with served(harness, server, stream_limits=StreamLimits(beat=0.01)) as state:
        await read_until(await state.open(), b"retry")
        await state.wait_until(lambda: state.traffic.write_timeouts == 1)
        await state.wait_until(lambda: state.traffic.streams_open == 0)
        assert harness.board.statistics().pages == 0


async def test_a_stream_ends_when_the_browser_leaves(harness: Harness) -> None:
    async with served(harness) as state:
        stream = await state.open()
        await read_until(stream, b"retry")
        await stream.aclose()
        await state.wait_until(lambda: state.traffic.streams_open == 0)
        assert harness.board.statistics().pages == 0


async def test_the_server_ends_at_once_when_the_board_does(harness: Harness) -> None:
    async with served(harness) as state:
        streams = [await state.open() for _ in range(5)]
        for stream in streams:
            await read_until(stream, b"retry")
        harness.board.end()
        state.stop.set()
        await state.ended.wait()  # the grace is much longer than the test's patience allows
        for stream in streams:
            assert b"event: ending" in await read_until(stream, b"ending")


async def test_one_stream_too_many_is_refused_and_counted(harness: Harness) -> None:
    one = GateLimits(streams=InFlightLimits(total=1, per_key=9, without_key=0, per_address=0))
    async with served(harness, gate_limits=one) as state:
        await read_until(await state.open(), b"retry")
        answer = await read_until(await state.open(), b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after" in answer.lower()
        assert state.traffic.refused == {"stream_in_flight": 1}


async def test_streams_of_an_office_leave_room_at_its_address(harness: Harness) -> None:
    async with served(harness, ServerLimits(max_connections_per_address=2)) as state:
        streams = [await state.open() for _ in range(1)]
        for _ in range(4):
            await read_until(streams[-1], b"retry")
            streams.append(await state.open())
        await read_until(streams[-1], b"retry")
        assert state.traffic.streams_open == 5
