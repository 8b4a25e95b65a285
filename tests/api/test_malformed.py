"""Malformed bytes cost their sender the connection, and nobody else anything."""

from __future__ import annotations

import struct

import pytest
import structlog
import trio

from api.server import ServerLimits
from tests.api.serving import UPGRADE, served

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 2, 3, 4, 7, 8
END_STREAM, END_HEADERS = 0x1, 0x4
GET, POST, ROOT, HTTP = b"\x82", b"\x83", b"\x84", b"\x86"  # HPACK's static table


def h2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def h2(*frames: bytes) -> list[bytes]:
    return [PREFACE + h2_frame(SETTINGS, 0, 0, b"") + b"".join(frames)]


def http(start_line: bytes, *lines: bytes, body: bytes = b"") -> list[bytes]:
    return [b"\r\n".join([start_line, b"Host: a", *lines, b"", b""]) + body]


def upgrade_with(old: bytes, new: bytes) -> list[bytes]:
    assert old in UPGRADE
    return [UPGRADE.replace(old, new)]


def ws(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """A websocket frame with a zero mask, so that its payload stays readable here."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size)
    if not masked:
        return bytes([first]) + length + payload
    return bytes([first, length[0] | 0x80]) + length[1:] + bytes(4) + payload


TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89
OK = b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
H2C = (b"GET /ok HTTP/1.1", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c")

CASES: dict[str, list[bytes]] = {
    # HTTP/1.1
    "binary rubbish": [b"\x00\xff\xfe\r\n\r\n"],
    "nothing at all": [b""],
    "a NUL in a header": http(b"GET / HTTP/1.1", b"X: \x00"),
    "no host": [b"GET / HTTP/1.1\r\n\r\n"],
    "a path beyond ASCII": http(b"GET /\xff\xfe HTTP/1.1"),
    "an absolute target with half an address": http(b"GET http://[::1 HTTP/1.1"),
    "a target with half an authority": http(b"GET //[ HTTP/1.1"),
    "both length and chunks": http(
        b"POST /read HTTP/1.1",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        body=b"0\r\n\r\n",
    ),
    "a chunk size that is no number": http(
        b"POST /read HTTP/1.1", b"Transfer-Encoding: chunked", body=b"zz\r\n"
    ),
    "a body cut short": http(b"POST /read HTTP/1.1", b"Content-Length: 50", body=b"abc"),
    "fifty requests at once": [OK * 50],
    "rubbish after a request": [OK + b"\x00\x00\x00"],
    "a request after a farewell": http(b"GET /ok HTTP/1.1", b"Connection: close", body=OK),
    "headers without end": [b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000],
    # h2 with prior knowledge
    "h2 rubbish": [PREFACE + b"\xff" * 100],
    "h2 data for no stream": h2(h2_frame(DATA, 0, 5, b"hello")),
    "h2 reset of no stream": h2(h2_frame(RST_STREAM, 0, 1, bytes(4))),
    "h2 farewell": h2(h2_frame(GOAWAY, 0, 0, bytes(8))),
    "h2 window update of nothing": h2(h2_frame(WINDOW_UPDATE, 0, 0, bytes(4))),
    "h2 stream that depends on itself": h2(h2_frame(PRIORITY, 0, 1, b"\x00\x00\x00\x01\x00")),
    "h2 request without authority": h2(
        h2_frame(HEADERS, END_STREAM | END_HEADERS, 1, GET + HTTP + ROOT)
    ),
    "h2 request without path": h2(h2_frame(HEADERS, END_STREAM | END_HEADERS, 1, GET + HTTP)),
    "h2 data after a reset": h2(
        h2_frame(HEADERS, END_HEADERS, 1, POST + HTTP + ROOT),
        h2_frame(RST_STREAM, 0, 1, bytes(4)),
        h2_frame(DATA, END_STREAM, 1, b"zz"),
    ),
    # h2 by upgrade
    "h2c": http(*H2C, b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    "h2c with settings that are no base64": http(*H2C, b"HTTP2-Settings: !!!"),
    "h2c without settings": http(b"GET /ok HTTP/1.1", b"Connection: Upgrade", b"Upgrade: h2c"),
    # websocket handshakes
    "upgrade without a key": upgrade_with(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
    "upgrade of another version": upgrade_with(b"13", b"9"),
    "upgrade by POST": upgrade_with(b"GET", b"POST"),
    "upgrade in HTTP/1.0": upgrade_with(b"HTTP/1.1", b"HTTP/1.0"),
    "upgrade and stray bytes": [UPGRADE + b"x\r\n"],
    "upgrade of no route, then a frame": [*upgrade_with(b"/ws", b"/nowhere"), ws(TEXT, b"a")],
    "refused upgrade, then a frame": [*upgrade_with(b"/ws", b"/ws-refused"), ws(TEXT, b"a")],
    # websocket frames
    "a frame without a mask": [UPGRADE, ws(TEXT, b"hi", masked=False)],
    "an unknown kind of frame": [UPGRADE, ws(0x83, b"")],
    "reserved bits": [UPGRADE, ws(0xF1, b"")],
    "text that is no UTF-8": [UPGRADE, ws(TEXT, b"\xff\xff")],
    "a close code out of range": [UPGRADE, ws(CLOSE, b"\x00\x01")],
    "half a close code": [UPGRADE, ws(CLOSE, b"\x00")],
    "empty text": [UPGRADE, ws(TEXT, b"")],
    "empty binary": [UPGRADE, ws(BINARY, b"")],
    "a message after the close": [UPGRADE, ws(CLOSE, b"\x03\xe8") + ws(TEXT, b"a")],
    "many messages, then the close": [UPGRADE, ws(TEXT, b"a") * 200 + ws(CLOSE, b"\x03\xe8")],
    "a ping too large for a control frame": [UPGRADE, ws(PING, b"a" * 128)],
    "a continuation of nothing": [UPGRADE, ws(0x80, b"a")],
    "a message of four exabytes": [UPGRADE, b"\x81\xff" + struct.pack(">Q", 2**62) + bytes(4)],
}
QUIET_SECONDS = 0.05  # how long to give the server to answer a piece before the next is sent


@pytest.mark.parametrize("pieces", CASES.values(), ids=CASES.keys())
async def test_malformed_bytes_end_only_their_own_connection(pieces: list[bytes]) -> None:
    with structlog.testing.capture_logs():
        async with served(server=ServerLimits(write_seconds=0.5)) as server:
            for reset in (False, True):
                await _misbehave(await server.connect(), pieces, reset=reset)
            assert await server.is_alive()
            await server.wait_for_count("connections_open", 0)
            await server.wait_for_count("in_flight", 0)


async def _misbehave(stream: trio.SocketStream, pieces: list[bytes], *, reset: bool) -> None:
    try:
        for piece in pieces:
            await stream.send_all(piece)
            with trio.move_on_after(QUIET_SECONDS):
                await stream.receive_some(65536)
    except trio.BrokenResourceError:
        pass  # the server was quicker to end it
    if reset:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()
