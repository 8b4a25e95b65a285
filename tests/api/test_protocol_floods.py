"""Floods of frames without requests, and requests of ambiguous length, end their connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import h2.connection
import h2.events
import pytest
import trio
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from quart_trio import QuartTrio

from api.protocols import IDLE_FRAMES_AT_ONCE
from api.server import serve_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = 5.0
EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
EMPTY_DATA = b"\x00\x00\x00\x00\x00\x00\x00\x00\x01"
PING = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
HEAD = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = QuartTrio(__name__)

    @app.route("/", methods=["GET", "POST"])
    async def root() -> str:
        return "x" * 300_000

    stop = trio.Event()
    serve = partial(serve_http, app, host="127.0.0.1", port=0, stop=stop, graceful_seconds=0.2)
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve)
        stop.set()


class _Client:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.h2 = h2.connection.H2Connection(H2Configuration(client_side=True))
        self.h2.initiate_connection()

    async def send(self, data: bytes = b"") -> None:
        await self._stream.send_all(self.h2.data_to_send() + data)

    async def until(self, kind: type[h2.events.Event]) -> h2.events.Event:
        """Return the first event of that type. Data that arrives meanwhile is acknowledged."""
        with trio.fail_after(SECONDS):
            while data := await self._stream.receive_some(65_536):
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        self.h2.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                    if isinstance(event, kind):
                        return event
                await self.send()
        raise AssertionError(f"the connection ended without {kind.__name__}")


def _resets(client: _Client) -> bytes:
    for stream_id in range(1, 4 * IDLE_FRAMES_AT_ONCE, 2):
        client.h2.send_headers(stream_id, HEAD)
        client.h2.reset_stream(stream_id)
    return b""


def _open_stream(client: _Client, frames: bytes) -> bytes:
    client.h2.send_headers(1, HEAD)
    return frames


@pytest.mark.parametrize("flood", ["settings", "pings", "empty data", "resets"])
async def test_a_flood_of_idle_frames_closes_the_connection(port: int, flood: str) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = _Client(stream)
        await client.send()
        match flood:
            case "settings":
                data = EMPTY_SETTINGS * 2 * IDLE_FRAMES_AT_ONCE
            case "pings":
                data = PING * 2 * IDLE_FRAMES_AT_ONCE
            case "empty data":
                data = _open_stream(client, EMPTY_DATA * 2 * IDLE_FRAMES_AT_ONCE)
            case _:
                data = _resets(client)
        await client.send(data)
        ended = await client.until(h2.events.ConnectionTerminated)
    assert isinstance(ended, h2.events.ConnectionTerminated)
    assert ended.error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_many_large_answers_on_one_h2_connection_arrive(port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = _Client(stream)
        for stream_id in range(1, 61, 2):
            client.h2.send_headers(stream_id, HEAD, end_stream=True)
            await client.send()
            await client.until(h2.events.StreamEnded)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_request_with_two_lengths_is_refused(port: int, order: tuple[int, int]) -> None:
    lengths = ("Content-Length: 4", "Transfer-Encoding: chunked")
    lines = [
        "POST / HTTP/1.1",
        "Host: a",
        *(lengths[index] for index in order),
        "",
        "0",
        "",
        "GET / HTTP/1.1",
        "",
    ]
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all("\r\n".join(lines).encode())
        answer = b""
        with trio.fail_after(SECONDS):
            while data := await stream.receive_some(65_536):
                answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
