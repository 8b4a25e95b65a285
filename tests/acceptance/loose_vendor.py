"""A ViriCiti-like vendor that sends what a test says, byte by byte.

Each fleet has its own path. Its stream sends the fleet's frames again and again, and its state
endpoint answers with the fleet's body. Written from the vendor's documents, not from our parsers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from tests.providers.servers import tcp_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

Text = Callable[[], bytes]  # written anew each time, with the time of that moment

FRAMES_EVERY_SECONDS: Final = 0.3
_CHUNK: Final = 65_536


@dataclass
class Fleet:
    """What the vendor says of one fleet. `state` is the body of its state answers."""

    frames: Sequence[Text] = ()
    state: Text = lambda: b"{}"


@dataclass
class LooseVendor:
    """The vendor's server. `opened` counts the streams that were opened, by fleet."""

    fleets: Mapping[str, Fleet]
    opened: Counter[str] = field(default_factory=Counter)
    url: str = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        head, _, body = (await _read_until(stream, b"\r\n\r\n")).partition(b"\r\n\r\n")
        slug = head.split(b" ")[1].decode().split("/")[1]
        fleet = self.fleets[slug]
        if b"upgrade: websocket" in head.lower():
            self.opened[slug] += 1
            await _send_frames(stream, head + b"\r\n\r\n", fleet)
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        while len(body) < length:
            body += await stream.receive_some(_CHUNK)
        answer = fleet.state()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
        )


@asynccontextmanager
async def open_loose_vendor(fleets: Mapping[str, Fleet]) -> AsyncIterator[LooseVendor]:
    vendor = LooseVendor(fleets)
    async with tcp_server(vendor.serve) as port:
        vendor.url = f"http://127.0.0.1:{port}"
        yield vendor


def now_ms(ahead_seconds: float = 0.0) -> int:
    return int((time.time() + ahead_seconds) * 1000)


async def _send_frames(stream: trio.SocketStream, request: bytes, fleet: Fleet) -> None:
    protocol = WSConnection(ConnectionType.SERVER)
    protocol.receive_data(request)
    assert list(protocol.events())
    await stream.send_all(protocol.send(AcceptConnection()))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_gone, stream, nursery.cancel_scope)
            while True:
                for frame in fleet.frames:
                    await stream.send_all(_text_frame(frame()))
                await trio.sleep(FRAMES_EVERY_SECONDS)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client is gone


async def _wait_gone(stream: trio.SocketStream, sending: trio.CancelScope) -> None:
    while await stream.receive_some(_CHUNK):
        pass
    sending.cancel()


def _text_frame(payload: bytes) -> bytes:
    """Return one text message, whether or not its bytes are text."""
    assert len(payload) < 65_536
    if len(payload) < 126:
        return bytes([0x81, len(payload)]) + payload
    return bytes([0x81, 126]) + len(payload).to_bytes(2, "big") + payload


async def _read_until(stream: trio.SocketStream, mark: bytes) -> bytes:
    read = b""
    while mark not in read:
        chunk = await stream.receive_some(_CHUNK)
        if not chunk:
            raise trio.BrokenResourceError
        read += chunk
    return read
