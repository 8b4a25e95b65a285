"""WebSocket connection of trio-websocket, with bounds for what a hostile server may send.

Owns two bounds that the library (0.12.2) lacks. First, frames that complete no message (pings,
pongs, parts of a message) are handled one after the other without letting another task run, 32,000
of them in one read: a server that sends only such frames stops the whole process for a second at a
time. Second, the body of a refused handshake is collected without end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio
from trio_websocket import WebSocketConnection
from wsproto import ConnectionType, WSConnection
from wsproto.events import Message, Ping, Pong, RejectData

from providers.websocket_text import take_any_text

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from wsproto.events import Event

MAX_REFUSAL_BYTES: Final = 16_384  # enough for the error code in it
# A message of the largest size in parts of 1 kB has 1,024 parts; and nobody pings a hundred times a
# second.
MAX_FRAMES_AT_ONCE: Final = 2048
FRAMES_PER_SECOND: Final = 100.0


class IdleFrames(Exception):
    """The server sends more frames without a message than any purpose needs."""


class SocketLimits(NamedTuple):
    """Bounds of one connection. When the queue is full, the library stops reading."""

    queued_messages: int
    message_bytes: int  # the largest message
    receive_bytes: int  # one read of the socket


async def open_connection(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    host: str,
    path: str,
    *,
    extra_headers: Sequence[tuple[bytes, bytes]],
    limits: SocketLimits,
) -> WebSocketConnection:
    """Shake hands as a client and return the connection. The caller's deadline applies.

    The reader runs in `nursery`, and fails there with IdleFrames. This does what
    trio_websocket.wrap_client_stream does, with a protocol of ours.
    """
    connection = WebSocketConnection(
        stream,
        BoundedProtocol(),
        host=host,
        path=path,
        client_subprotocols=None,
        client_extra_headers=list(extra_headers),
        message_queue_size=limits.queued_messages,
        max_message_size=limits.message_bytes,
        receive_buffer_size=limits.receive_bytes,
    )
    nursery.start_soon(connection._reader_task)
    await connection._open_handshake.wait()  # the caller's deadline applies
    return connection


def count_unread(connection: WebSocketConnection) -> int:
    """Return how many messages wait in the library's queue, which has no public name for it."""
    return connection._recv_channel.statistics().current_buffer_used


class BoundedProtocol(WSConnection):
    """A client's protocol that counts idle frames and the bytes of a refusal."""

    def __init__(self) -> None:
        super().__init__(ConnectionType.CLIENT)
        self._refusal_bytes = 0
        self._frames_left = float(MAX_FRAMES_AT_ONCE)
        self._counted_at = trio.current_time()

    def receive_data(self, data: bytes | None) -> None:
        """Take bytes of the socket. With the last of the handshake, the connection begins."""
        was_open = self.connection is not None
        super().receive_data(data)
        if not was_open and self.connection is not None:
            take_any_text(self.connection)

    def events(self) -> Generator[Event, None, None]:
        """Yield the connection's events. Raises IdleFrames."""
        for event in super().events():
            if isinstance(event, RejectData):
                yield self._cut(event)
            else:
                if _is_idle(event):
                    self._count_idle()
                yield event

    def _cut(self, event: RejectData) -> RejectData:
        """Cut the body of a refusal where it is too long."""
        data = event.data[: MAX_REFUSAL_BYTES - self._refusal_bytes]
        self._refusal_bytes += len(data)
        return RejectData(data, body_finished=event.body_finished or len(data) < len(event.data))

    def _count_idle(self) -> None:
        now = trio.current_time()
        refilled = self._frames_left + (now - self._counted_at) * FRAMES_PER_SECOND
        self._frames_left = min(refilled, MAX_FRAMES_AT_ONCE) - 1
        self._counted_at = now
        if self._frames_left < 0:
            raise IdleFrames


def _is_idle(event: Event) -> bool:
    """Return whether this is a frame that ends no message.

    A frame that arrives in pieces counts once.
    """
    if isinstance(event, Message):
        return event.frame_finished and not event.message_finished
    return isinstance(event, (Ping, Pong))
