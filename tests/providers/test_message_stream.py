"""Connections that are read in bulk, beside trio-websocket's own, over real sockets."""

from __future__ import annotations

import httpx
import trio
from hypothesis import given, settings
from trio_websocket import ConnectionClosed, wrap_client_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from providers.http import HttpPool
from providers.websocket import Endpoint, WebSocketOpener
from providers.websocket_stream import MessageStream, StreamEnded
from tests.providers.frame_streams import FIN, PING, as_frame, byte_streams, hear, text
from tests.providers.servers import loopback_dialler, tcp_server

READ_BYTES = 65_536
GOODBYE = as_frame(0x88, (4000).to_bytes(2, "big"))
Outcome = tuple[list[bytes], int]


class PieceServer:
    """Sends pieces of bytes behind its handshake, one at a time, and hears what comes back.

    The first piece comes in one packet with the handshake.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.heard: list[tuple[list[bytes], int | None]] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        if isinstance(stream, trio.SocketStream):
            stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        protocol = WSConnection(ConnectionType.SERVER)
        protocol.receive_data(bytes(await stream.receive_some(READ_BYTES)))
        assert list(protocol.events())
        handshake = protocol.send(AcceptConnection())
        heard = b""
        try:
            await stream.send_all(handshake + b"".join(self._pieces[:1]))
            for piece in self._pieces[1:]:
                await stream.send_all(piece)
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while data := await stream.receive_some(READ_BYTES):
                heard += data
        except trio.BrokenResourceError:
            pass
        assert protocol.connection is not None
        self.heard.append(hear(protocol.connection, heard))


def endpoint_of(port: int, scheme: str = "ws") -> Endpoint:
    url = httpx.URL(f"{scheme}://127.0.0.1:{port}/")
    return Endpoint(url=url, headers={}, connect_seconds=5.0, close_seconds=0.1)


async def read_with_library(port: int) -> Outcome:
    """What trio-websocket makes of the stream. An odd byte in a text ends it with 1007."""
    messages: list[bytes] = []
    async with (
        await trio.open_tcp_stream("127.0.0.1", port) as stream,  # the library leaves some open
        trio.open_nursery() as nursery,
    ):
        socket = await wrap_client_stream(nursery, stream, "127.0.0.1", "/")
        try:
            while True:
                message = await socket.get_message()
                messages.append(message.encode() if isinstance(message, str) else message)
        except ConnectionClosed as closed:
            nursery.cancel_scope.cancel()
            code = closed.reason.code if closed.reason else 0
    return messages, code


async def read_to_the_end(connection: MessageStream) -> Outcome:
    messages: list[bytes] = []
    try:
        while True:
            messages += await connection.receive()
    except StreamEnded as ended:
        return messages, ended.reason.code


async def read_in_bulk(port: int, http: HttpPool) -> Outcome:
    """What our own reader makes of it."""
    async with WebSocketOpener(http, endpoint_of(port)).open() as connection:
        return await read_to_the_end(connection)


@given(byte_streams())
@settings(deadline=None, max_examples=50)
def test_both_clients_read_the_same_over_sockets(pieces: list[bytes]) -> None:
    """A text that is not UTF-8 is where they differ on purpose (docs/decisions/0027)."""

    async def run() -> tuple[Outcome, Outcome]:
        server = PieceServer([*pieces, GOODBYE])
        with trio.fail_after(30):
            async with tcp_server(server.serve) as port, HttpPool(loopback_dialler()) as http:
                return await read_with_library(port), await read_in_bulk(port, http)

    library, ours = trio.run(run)
    if library[1] != 1007:
        assert ours == library
    else:
        assert ours[0][: len(library[0])] == library[0]


async def test_a_ping_behind_the_handshake_is_answered() -> None:
    server = PieceServer([as_frame(FIN | PING, b"first") + text(b"good") + GOODBYE])
    async with tcp_server(server.serve) as port, HttpPool(loopback_dialler()) as http:
        assert await read_in_bulk(port, http) == ([b"good"], 4000)
        with trio.fail_after(5):
            while not server.heard:  # noqa: ASYNC110 - the server has no event for it
                await trio.sleep(0.01)
    assert server.heard == [([b"first"], 4000)]


async def test_a_reader_that_is_always_busy_lets_others_run() -> None:
    """A stream that never runs dry may not hold the loop for longer than a pass."""
    server = PieceServer([text(b"{}") * 20_000, text(b"{}") * 80_000, GOODBYE])
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with (
        tcp_server(server.serve) as port,
        HttpPool(loopback_dialler()) as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_turns)
        messages, _ = await read_in_bulk(port, http)
        nursery.cancel_scope.cancel()
    assert messages == [b"{}"] * 100_000
    assert turns >= 100_000 / 128


async def test_a_reader_that_reads_on_but_not_fast_enough_is_behind() -> None:
    """No byte gets old in the system's bounded buffer, and yet we hold the provider up."""
    flood = text(b"{}") * 16_000

    async def talk(stream: trio.SocketStream) -> None:
        await PieceServer([flood] * 1000).serve(stream)

    async with (
        tcp_server(talk) as port,
        HttpPool(loopback_dialler()) as http,
        WebSocketOpener(http, endpoint_of(port)).open() as connection,
    ):
        with trio.fail_after(30):
            while connection.behind_seconds() < 0.5:
                assert await connection.receive()
                await trio.sleep(0.001)
