"""The open live stream against real servers on loopback, well-behaved and otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.http import HttpPool
from providers.viriciti import ViriCiti
from providers.websocket_frames import MAX_MESSAGE_SIZE
from tests.providers.servers import (
    loopback_dialler,
    tcp_server,
    websocket_server,
)
from tests.providers.viriciti_streams import (
    KEY,
    open_and_close,
    open_streamer,
    read_on,
    receive_frames,
    stream_connection,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.viriciti.client import ViriCitiStreamer

POINT = (
    b'{"type":"vehicles","payload":{"vid":"bus_1","label":"soc","time":1566411763290,"value":88.5}}'
)


@pytest.fixture
async def provider() -> AsyncIterator[ViriCiti]:
    async with HttpPool(loopback_dialler()) as http:
        yield ViriCiti(http)


def _accepting(
    talk: Callable[[WebSocketConnection], Awaitable[None]],
) -> Callable[[WebSocketRequest], Awaitable[None]]:
    """A handler that accepts every handshake and ends quietly when the client is gone."""

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            await talk(connection)
        except ConnectionClosed:
            return

    return handle


async def _listen(connection: WebSocketConnection) -> None:
    while True:
        await connection.get_message()


async def test_a_subscription_goes_out_in_chunks_and_frames_come_in(provider: ViriCiti) -> None:
    asked: list[object] = []

    async def talk(connection: WebSocketConnection) -> None:
        asked.extend([orjson.loads(await connection.get_message()) for _ in range(2)])
        await connection.send_message(POINT.decode())
        await connection.send_message(POINT)
        await _listen(connection)

    async with websocket_server(_accepting(talk)) as base:
        streamer = open_streamer(provider, base, labels=["soc", "gps"], subscription_chunk_size=2)
        async with streamer.connect() as socket:
            await socket.subscribe(["bus_1", "bus_2", "bus_3"])
            frames = await receive_frames(socket, 2)
    labels = ["soc", "gps"]
    assert asked == [
        {"vehicles": {"bus_1": labels, "bus_2": labels}},
        {"vehicles": {"bus_3": labels}},
    ]
    assert frames == [POINT, POINT]


async def _open_and_read(streamer: ViriCitiStreamer) -> None:
    async with streamer.connect() as socket:
        while True:
            await socket.receive()


async def test_a_close_by_the_provider_ends_every_use(
    provider: ViriCiti,
) -> None:
    async def talk(connection: WebSocketConnection) -> None:
        await connection.send_message(POINT)
        await connection.aclose(1001, "maintenance")

    async with (
        websocket_server(_accepting(talk)) as base,
        open_streamer(provider, base).connect() as socket,
    ):
        assert await receive_frames(socket, 1) == [POINT]
        for action in (socket.receive(), socket.ping(), socket.subscribe(["bus_1"])):
            with pytest.raises(
                ProviderFault, match=r"1001 going_away\): error maintenance$"
            ) as caught:
                await action
            assert caught.value.fault is FaultClass.OUTAGE


async def test_a_cable_cut_without_a_goodbye_ends_reading(provider: ViriCiti) -> None:
    async def cut(stream: trio.SocketStream) -> None:
        await _shake_hands(stream)

    async with (
        tcp_server(cut) as port,
        open_streamer(provider, f"http://127.0.0.1:{port}").connect() as socket,
    ):
        with pytest.raises(ProviderFault, match="1006") as caught:
            await socket.receive()
    assert caught.value.fault is FaultClass.OUTAGE


async def _shake_hands(stream: trio.SocketStream) -> WSConnection:
    """The server's half of an opening handshake, for what a well-behaved server would not do."""
    protocol = WSConnection(ConnectionType.SERVER)
    while True:
        protocol.receive_data(await stream.receive_some(4096))
        if any(isinstance(event, Request) for event in protocol.events()):
            await stream.send_all(protocol.send(AcceptConnection()))
            return protocol


async def test_a_ping_without_a_pong_is_an_outage(provider: ViriCiti) -> None:
    async def never_answer(stream: trio.SocketStream) -> None:
        await _shake_hands(stream)
        await trio.sleep_forever()

    async with tcp_server(never_answer) as port:
        streamer = open_streamer(provider, f"http://127.0.0.1:{port}", ping_timeout_seconds=0.05)
        async with streamer.connect() as socket, read_on(socket):
            with pytest.raises(ProviderFault, match="no pong within") as caught:
                await socket.ping()
    assert caught.value.fault is FaultClass.OUTAGE
    assert streamer.statistics().goodbyes_unanswered == 1


async def test_bytes_that_nobody_reads_are_our_backlog(provider: ViriCiti) -> None:
    async def talk(connection: WebSocketConnection) -> None:
        await connection.send_message(POINT)
        await _listen(connection)

    async with (
        websocket_server(_accepting(talk)) as base,
        open_streamer(provider, base).connect() as socket,
    ):
        with trio.fail_after(5):
            while not socket.behind_seconds():  # noqa: ASYNC110 the system sends no event for it
                await trio.sleep(0.01)
        await trio.sleep(0.1)
        assert 0.1 <= socket.behind_seconds() < 5
        assert await receive_frames(socket, 1) == [POINT]
        assert socket.behind_seconds() == 0


async def test_a_provider_that_sends_late_is_no_backlog_of_ours(provider: ViriCiti) -> None:
    """Old values, one at a time, for longer than the reader needs for each."""

    async def talk(connection: WebSocketConnection) -> None:
        while True:
            await connection.send_message(POINT)
            await trio.sleep(0.01)

    async with (
        websocket_server(_accepting(talk)) as base,
        open_streamer(provider, base).connect() as socket,
        read_on(socket) as frames,
    ):
        behind = 0.0
        with trio.fail_after(5):
            while len(frames) < 30:
                behind = max(behind, socket.behind_seconds())
                await trio.sleep(0.001)
    assert behind < 0.1


async def test_a_ping_that_comes_back_returns(provider: ViriCiti) -> None:
    async with (
        websocket_server(_accepting(_listen)) as base,
        open_streamer(provider, base).connect() as socket,
        read_on(socket),
    ):
        await socket.ping()


async def test_a_server_that_takes_no_more_messages_is_an_outage(provider: ViriCiti) -> None:
    async def never_read(stream: trio.SocketStream) -> None:
        await _shake_hands(stream)
        await trio.sleep_forever()

    vids = [f"bus_{number:060d}" for number in range(5000)]
    async with tcp_server(never_read) as port:
        streamer = open_streamer(provider, f"http://127.0.0.1:{port}", send_timeout_seconds=0.2)
        async with streamer.connect() as socket:
            with pytest.raises(ProviderFault, match="took no message") as caught:
                await socket.subscribe(vids * 50)
    assert caught.value.fault is FaultClass.OUTAGE


async def test_a_frame_that_is_too_big_is_a_protocol_fault(provider: ViriCiti) -> None:
    async def talk(connection: WebSocketConnection) -> None:
        await connection.send_message("x" * (MAX_MESSAGE_SIZE + 1))
        await _listen(connection)

    async with (
        websocket_server(_accepting(talk)) as base,
        open_streamer(provider, base).connect() as socket,
    ):
        with pytest.raises(ProviderFault, match="more than 1048576") as caught:
            await socket.receive()
    assert caught.value.fault is FaultClass.PROTOCOL


async def test_bytes_that_are_no_frames_are_a_protocol_fault(provider: ViriCiti) -> None:
    async def babble(stream: trio.SocketStream) -> None:
        await _shake_hands(stream)
        await stream.send_all(b"\xff" * 64)
        await trio.sleep_forever()

    async with (
        tcp_server(babble) as port,
        open_streamer(provider, f"http://127.0.0.1:{port}").connect() as socket,
    ):
        with pytest.raises(ProviderFault) as caught:
            await socket.receive()
        with pytest.raises(ProviderFault):
            await socket.ping()
        with pytest.raises(ProviderFault):
            await socket.subscribe(["bus_1"])
    assert caught.value.fault is FaultClass.PROTOCOL


async def test_a_ping_after_a_frame_too_big_is_a_fault(
    provider: ViriCiti,
) -> None:
    """No ping is answered behind our close frame."""

    async def go_on(stream: trio.SocketStream) -> None:
        protocol = await _shake_hands(stream)
        big = protocol.send(TextMessage("x" * (MAX_MESSAGE_SIZE + 1)))
        await stream.send_all(big + protocol.send(Ping(b"still there?")))
        await trio.sleep_forever()

    async with tcp_server(go_on) as port:
        with pytest.raises(ProviderFault) as caught:
            await _open_and_read(open_streamer(provider, f"http://127.0.0.1:{port}"))
    assert caught.value.fault is FaultClass.PROTOCOL


async def test_a_ping_into_our_goodbye_is_nobodys_problem(provider: ViriCiti) -> None:
    async def ping_on_close(stream: trio.SocketStream) -> None:
        protocol = await _shake_hands(stream)
        while not any(isinstance(event, CloseConnection) for event in protocol.events()):
            protocol.receive_data(await stream.receive_some(4096))
        await stream.send_all(
            b"\x89\x00"
        )  # an empty ping; the protocol object would refuse to send it now
        await trio.sleep_forever()

    async with tcp_server(ping_on_close) as port:
        streamer = open_streamer(provider, f"http://127.0.0.1:{port}")
        await open_and_close(streamer)
    assert streamer.statistics().goodbyes_unanswered == 1


async def test_what_the_body_raises_survives_a_goodbye_without_answer(provider: ViriCiti) -> None:
    async def never_answer(stream: trio.SocketStream) -> None:
        await _shake_hands(stream)
        await trio.sleep_forever()

    async with tcp_server(never_answer) as port:
        streamer = open_streamer(provider, f"http://127.0.0.1:{port}")
        with pytest.raises(OSError, match="of the body"):
            async with streamer.connect():
                raise OSError("of the body")


async def test_cancelling_the_body_does_not_wait_for_the_goodbye(provider: ViriCiti) -> None:
    async def never_answer(stream: trio.SocketStream) -> None:
        await _shake_hands(stream)
        await trio.sleep_forever()

    async with tcp_server(never_answer) as port:
        connection = stream_connection(f"http://127.0.0.1:{port}", disconnect_timeout_seconds=30)
        with trio.fail_after(5), trio.CancelScope() as scope:
            async with provider.open_streamer(connection, KEY).connect():
                scope.cancel()
                await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_pongs_flow_while_frames_are_read(provider: ViriCiti) -> None:
    async def talk(connection: WebSocketConnection) -> None:
        for _ in range(500):
            await connection.send_message(POINT)
        with trio.fail_after(5):
            await connection.ping()
        await connection.aclose()

    async with (
        websocket_server(_accepting(talk)) as base,
        open_streamer(provider, base).connect() as socket,
    ):
        frames = await receive_frames(socket, 500)
        with pytest.raises(ProviderFault, match="1000"):
            await socket.receive()
    assert frames == [POINT] * 500
