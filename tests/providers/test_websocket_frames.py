"""Frames without a message, or a refusal without end, cost their own connection only."""

from __future__ import annotations

import hashlib
import inspect
from copy import deepcopy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.frame_protocol import MessageDecoder

from domain.model import FaultClass, ProviderConnection
from ports.providers import ProviderFault
from providers.http import HttpPool
from providers.viriciti import ViriCiti
from providers.websocket_frames import MAX_IDLE_FRAMES
from providers.websocket_handshake import MAX_REFUSAL_BYTES
from providers.websocket_text import take_any_text
from tests.providers.servers import loopback_dialler, tcp_server
from tests.providers.viriciti_streams import receive_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from wsproto.connection import Connection

    from providers.viriciti.client import ViriCitiStreamer

READ_BYTES = 65_536
PART = b"\x00\x01x"
LAST_PART = b"\x80\x01x"


@pytest.fixture
async def http() -> AsyncIterator[HttpPool]:
    async with HttpPool(loopback_dialler()) as opened:
        yield opened


def _streamer(http: HttpPool, port: int) -> ViriCitiStreamer:
    base = f"http://127.0.0.1:{port}"
    settings = {"disconnect_timeout_seconds": 0.1, "connect_timeout_seconds": 5.0}
    connection = ProviderConnection(
        "acme", "viriciti-1", "viriciti", "stream", base, "env:KEY", settings
    )
    return ViriCiti(http).open_streamer(connection, "s3cret-key")


def _sending(data: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """A server that accepts the handshake, sends this, and then takes whatever comes."""

    async def talk(stream: trio.SocketStream) -> None:
        protocol = WSConnection(ConnectionType.SERVER)
        protocol.receive_data(await stream.receive_some(READ_BYTES))
        assert list(protocol.events())
        await stream.send_all(protocol.send(AcceptConnection()) + data)
        while await stream.receive_some(READ_BYTES):
            pass

    return talk


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"\x01\x01x" + b"\x00\x00" * 32_768, id="empty parts"),
        pytest.param(b"\x01\x01x" + PART * 20_000, id="parts of one byte"),
        pytest.param(b"\x89\x00" * 32_768, id="pings"),
        pytest.param(b"\x8a\x00" * 32_768, id="pongs"),
    ],
)
async def test_a_flood_without_messages_ends_the_stream(http: HttpPool, frames: bytes) -> None:
    async with tcp_server(_sending(frames)) as port:
        with (
            trio.fail_after(5),
            pytest.raises(ProviderFault, match="frames that say nothing") as caught,
        ):
            async with _streamer(http, port).connect() as socket:
                await socket.receive()
    assert caught.value.fault is FaultClass.PROTOCOL


async def test_a_large_message_in_many_parts_arrives(http: HttpPool) -> None:
    parts = MAX_IDLE_FRAMES - 100
    async with tcp_server(_sending(b"\x01\x01x" + PART * parts + LAST_PART)) as port:
        with trio.fail_after(5):
            async with _streamer(http, port).connect() as socket:
                assert await receive_frames(socket, 1) == [b"x" * (parts + 2)]


LATIN_1 = b'{"type":"vehicles","payload":{"vid":"bus_1","label":"soc","value":"M\xfcller"}}'


def _text(payload: bytes, opcode: int = 0x81) -> bytes:
    return bytes([opcode, len(payload)]) + payload


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(_text(LATIN_1), id="one frame"),
        pytest.param(
            _text(LATIN_1[:70], 0x01) + _text(LATIN_1[70:75], 0x00) + _text(LATIN_1[75:], 0x80),
            id="three parts",
        ),
        pytest.param(_text(LATIN_1[:-1] + b"\xe2\x82", 0x81), id="cut within a character"),
    ],
)
async def test_a_byte_that_is_not_utf8_costs_its_own_frame(http: HttpPool, sent: bytes) -> None:
    good = b'{"vid":"bus_2","label":"soc","time":1566411763290,"value":5}'
    async with tcp_server(_sending(sent + _text(good))) as port:
        streamer = _streamer(http, port)
        with trio.fail_after(5):
            async with streamer.connect() as socket:
                frames = await receive_frames(socket, 2)
    verdicts = [streamer.interpret(frame) for frame in frames]
    lost, read = verdicts
    assert (lost.external_id, lost.malformed, lost.signal) == ("bus_1", "not JSON", "soc_percent")
    assert (read.external_id, read.readings[0].value) == ("bus_2", 5)


async def test_a_protocol_error_still_ends_the_connection(http: HttpPool) -> None:
    async with tcp_server(_sending(_text(b"lost part", 0x80))) as port:
        with trio.fail_after(5), pytest.raises(ProviderFault) as caught:
            async with _streamer(http, port).connect() as socket:
                await socket.receive()
    assert caught.value.fault is FaultClass.PROTOCOL


async def test_a_refusal_without_end_is_read_to_its_bound(http: HttpPool) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some(READ_BYTES)
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    async with tcp_server(refuse) as port:
        with (
            trio.fail_after(3),
            pytest.raises(ProviderFault, match=rf"403 \({MAX_REFUSAL_BYTES} bytes\)"),
        ):
            async with _streamer(http, port).connect():
                pass


@pytest.mark.parametrize(
    ("called", "pinned"),
    [
        (wrap_client_stream, "e83f031906abdf22"),
        (WebSocketConnection._reader_task, "69826f541cb0278a"),
        (WebSocketConnection._handle_reject_connection_event, "2a09f7cfe462edb2"),
        (WebSocketConnection._handle_reject_data_event, "0fc9a0a293caf6a3"),
    ],
)
def test_a_connection_is_opened_as_the_library_does(called: Any, pinned: str) -> None:
    """If this fails, compare the library's text with shake_hands, and pin the new one."""
    source = inspect.getsource(called)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == pinned


@pytest.mark.parametrize("names", [{}, {"_proto": None}, {"_proto": SimpleNamespace(decoder=1)}])
def test_a_connection_without_the_librarys_part_stays_strict(names: dict[str, Any]) -> None:
    connection = SimpleNamespace(**deepcopy(names))
    take_any_text(cast("Connection", connection))
    assert connection == SimpleNamespace(**names)


def test_text_is_decoded_as_the_library_does() -> None:
    """If this fails, compare MessageDecoder with TolerantDecoder, and pin the new text."""
    source = inspect.getsource(MessageDecoder)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == "038365303d22c0a0"
