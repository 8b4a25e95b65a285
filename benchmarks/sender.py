"""A provider that sends a feed as fast as the socket takes it, in a process of its own.

It uses little CPU while it sends, so that a benchmark measures the receiver: the frames are encoded
beforehand and sent in large pieces, each frame still a WebSocket frame of its own. It begins when
every vehicle of the feed is subscribed to and the parent says so. `python -m benchmarks.sender
VEHICLES TURNS MS BURST`.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import h11
import orjson
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)

from benchmarks.feed import Feed
from benchmarks.workers import hear_word, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsproto.events import Event

CHUNK = 65_536


class Sender:
    """One feed for one subscriber.

    A second connection would get the feed again, and the receiver's counts would show it.
    """

    def __init__(self, feed: Feed) -> None:
        self._pieces = list(_pieces(feed))
        self._missing = set(feed.vids())
        self._subscribed = trio.Event()
        self._go = trio.Event()

    async def wait_subscribed(self) -> None:
        """Return when every vehicle was subscribed to. No deadline: the parent has one."""
        await self._subscribed.wait()

    def go(self) -> None:
        """Begin to send."""
        self._go.set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection: the state endpoint, or the live stream."""
        try:
            head = await read_head(stream)
            if head.startswith(b"POST"):
                await answer_state(stream, head)
            else:
                await self._serve_stream(stream, head)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    async def _serve_stream(self, stream: trio.SocketStream, head: bytes) -> None:
        wire, sending = WSConnection(ConnectionType.SERVER), trio.Lock()
        wire.receive_data(head)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream, sending)
            await self._receive(stream, wire, sending)
            nursery.cancel_scope.cancel()

    async def _send(self, stream: trio.SocketStream, sending: trio.Lock) -> None:
        await self._go.wait()
        began = time.monotonic()
        for piece in self._pieces:
            async with sending:
                await stream.send_all(piece)
        say(began=began)

    async def _receive(
        self, stream: trio.SocketStream, wire: WSConnection, sending: trio.Lock
    ) -> None:
        """Read whole messages until the client closes; answer pings between two pieces."""
        message = b""
        while True:
            for event in wire.events():
                if isinstance(event, TextMessage | BytesMessage):
                    data = event.data
                    message += data.encode() if isinstance(data, str) else bytes(data)
                    if event.message_finished:
                        self._note_subscription(message)
                        message = b""
                elif (answer := answer_to(event)) is not None:
                    async with sending:
                        await stream.send_all(wire.send(answer))
                if isinstance(event, CloseConnection):
                    return
            chunk = await stream.receive_some(CHUNK)
            if not chunk:
                return
            wire.receive_data(bytes(chunk))

    def _note_subscription(self, message: bytes) -> None:
        self._missing -= orjson.loads(message)["vehicles"].keys()
        if not self._missing:
            self._subscribed.set()


def answer_to(event: Event) -> Event | None:
    if isinstance(event, Request):
        return AcceptConnection()
    if isinstance(event, Ping | CloseConnection):
        return event.response()
    return None


async def read_head(stream: trio.SocketStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = await stream.receive_some(CHUNK)
        if not chunk:
            raise trio.BrokenResourceError("the connection ended before its request did")
        head += chunk
    return head


async def answer_state(stream: trio.SocketStream, received: bytes) -> None:
    """Answer the state endpoint, which is asked for seeding: no state is known.

    The whole body is read first: closing a socket with unread bytes would break the connection
    before the answer arrives.
    """
    request = h11.Connection(h11.SERVER)
    request.receive_data(received)
    while not isinstance(event := request.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            request.receive_data(bytes(await stream.receive_some(CHUNK)))
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    await stream.send_eof()


def _pieces(feed: Feed) -> Iterator[bytes]:
    """Yield all frames as a server sends them: unmasked text frames (RFC 6455, 5.2).

    Each piece ends where a frame ends.
    """
    piece = bytearray()
    for payload in feed.payloads():
        piece += b"\x81" + length_of(len(payload)) + payload
        if len(piece) >= CHUNK:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def length_of(size: int) -> bytes:
    return bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")


async def _obey_parent(sender: Sender) -> None:
    await sender.wait_subscribed()
    say(subscribed=True)
    await hear_word()
    sender.go()


async def main(feed: Feed) -> None:
    """Serve until the parent ends; tell it the port first."""
    parent, sender = os.getppid(), Sender(feed)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, sender.serve, 0, host="127.0.0.1"))
        say(port=listeners[0].socket.getsockname()[1])
        nursery.start_soon(_obey_parent, sender)
        while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sends no event for it
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Feed(*(int(argument) for argument in sys.argv[1:])))
