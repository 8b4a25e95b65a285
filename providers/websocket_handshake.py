"""The opening handshake of a WebSocket connection, made by trio-websocket.

Owns the hand-over: the library (0.12.2) opens the connection, and then its reader is left, so that
the frames can be read in bulk. It also bounds the body of a refusal, which the library collects
without end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from trio_websocket import ConnectionRejected, WebSocketConnection
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, RejectData
from wsproto.utilities import RemoteProtocolError

from providers.websocket_text import take_any_text

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import trio
    from wsproto.connection import Connection
    from wsproto.events import Event

MAX_REFUSAL_BYTES: Final = 16_384  # enough for the error code in it
_READ_BYTES: Final = 16_384


class NotWebSocket(Exception):
    """The server answered something that is no opening handshake."""


class HandshakeCut(Exception):
    """The server ended the connection before the handshake was over."""


class Opened(NamedTuple):
    """A connection whose handshake is over. `received` are bytes that came behind it."""

    wire: Connection
    received: bytes


async def shake_hands(
    stream: trio.abc.Stream,
    host: str,
    path: str,
    extra_headers: Sequence[tuple[bytes, bytes]],
) -> Opened:
    """Shake hands as a client. The caller's deadline applies.

    Raises trio_websocket.ConnectionRejected, also for a refusal whose body is cut off, NotWebSocket
    or HandshakeCut.
    """
    connection = WebSocketConnection(
        stream,
        _OpeningProtocol(),
        host=host,
        path=path,
        client_subprotocols=None,
        client_extra_headers=list(extra_headers),
        receive_buffer_size=_READ_BYTES,
    )
    try:
        await connection._reader_task()
    except _HandshakeOver as over:
        return over.opened
    if connection._reject_status:  # the body has no end, but its status and headers say enough
        raise ConnectionRejected(
            connection._reject_status, connection._reject_headers, connection._reject_body
        )
    raise HandshakeCut


class _HandshakeOver(Exception):
    """Leaves the library's reader when the connection is open, so that it reads no frame."""

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self.opened = opened


class _OpeningProtocol(WSConnection):
    """A client's protocol that ends with the handshake and counts the bytes of a refusal."""

    def __init__(self) -> None:
        super().__init__(ConnectionType.CLIENT)
        self._refusal_bytes = 0
        self._received = b""  # behind the handshake

    def receive_data(self, data: bytes | None) -> None:
        """Take bytes of the socket, those of the head line by line: it ends with a line's end.

        So what came behind the head is known here, and the library's connection is still empty.
        """
        rest = data or b""
        while rest and self.connection is None:
            end = rest.find(b"\n") + 1 if self.state is ConnectionState.CONNECTING else 0
            line, rest = (rest[:end], rest[end:]) if end else (rest, b"")
            try:
                super().receive_data(line)
            except (RemoteProtocolError, ValueError) as error:  # bytes that are not ASCII
                raise NotWebSocket from error
        if self.connection is not None:
            take_any_text(self.connection)
            self._received = rest

    def events(self) -> Generator[Event, None, None]:
        """Yield the events of the handshake. Raises _HandshakeOver behind its last one."""
        for event in super().events():
            yield self._cut(event) if isinstance(event, RejectData) else event
            if isinstance(event, AcceptConnection) and self.connection is not None:
                raise _HandshakeOver(Opened(self.connection, self._received))

    def _cut(self, event: RejectData) -> RejectData:
        """Cut the body of a refusal where it is too long."""
        data = event.data[: MAX_REFUSAL_BYTES - self._refusal_bytes]
        self._refusal_bytes += len(data)
        return RejectData(data, body_finished=event.body_finished or len(data) < len(event.data))
