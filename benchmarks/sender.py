"""A provider that sends a feed as fast as the socket takes it, in a process of its own.

Costs next to nothing while it sends, so that a benchmark measures the receiver: the frames are encoded beforehand and
go out in large pieces, each frame still a WebSocket frame of its own. `python -m benchmarks.sender VEHICLES FRAMES MS`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from functools import partial

import trio

from benchmarks.feed import Feed

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
PIECE = 65_536


async def main(feed: Feed) -> None:
    """Serve until the parent goes away. Prints the port."""
    parent = os.getppid()
    wire = feed.wire()

    async def serve(stream: trio.SocketStream) -> None:
        try:
            await _serve(stream, wire)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        print(listeners[0].socket.getsockname()[1], flush=True)
        while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sends no event for it
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()


async def _serve(stream: trio.SocketStream, wire: bytes) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some(PIECE)
    if head.startswith(b"POST"):  # the state endpoint, asked for seeding: nothing is known
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        return
    key = next(
        line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 - the protocol's hash, not ours
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )
    await stream.receive_some(PIECE)  # the subscription
    for start in range(0, len(wire), PIECE):
        await stream.send_all(wire[start : start + PIECE])
    while await stream.receive_some(PIECE):
        pass


if __name__ == "__main__":
    trio.run(main, Feed(*(int(argument) for argument in sys.argv[1:4])))
