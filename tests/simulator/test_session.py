"""A stream session over streams in memory, on a clock that jumps: sockets would be slow."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, Request, TextMessage

from simulator.frames import Frame, FrameKind, text_frame
from simulator.session import Ending, StreamSession
from simulator.stream import LiveStream
from tests.simulator.conftest import harbour

FRAME = Frame(text_frame(b"x" * 90), FrameKind.DATA)


class Client:
    """The other end: the same protocol library, in the client's role."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.protocol = Connection(ConnectionType.CLIENT)

    async def hear(self) -> list[object]:
        """What arrives until the server's next pause; an empty list is the end."""
        data = await self.stream.receive_some(1 << 20)
        self.protocol.receive_data(bytes(data))
        return list(self.protocol.events()) if data else []


def accepted() -> WSConnection:
    """A server's protocol after a handshake."""
    server, client = WSConnection(ConnectionType.SERVER), WSConnection(ConnectionType.CLIENT)
    server.receive_data(client.send(Request(host="simulator", target="/api/v2/live")))
    list(server.events())
    server.send(AcceptConnection())
    return server


def pair(*, lockstep: bool = False, **limits: float) -> tuple[StreamSession, Client, LiveStream]:
    make = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    ours, theirs = make()
    live = LiveStream(harbour(1), 7)
    settings: dict[str, Any] = {"write_seconds": 5.0, "max_outbox_bytes": 10_000, **limits}
    return StreamSession(ours, accepted(), live, **settings), Client(theirs), live


async def test_a_client_that_does_not_read_is_dropped_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session, _, live = pair(lockstep=True)
    session.deliver(FRAME)
    session.flush()
    await session.run(b"")
    assert session.ending is Ending.SLOW_READER
    assert trio.current_time() == 5.0
    assert (live.discarded, session.frames_written, live.written.total()) == (1, 0, 0)


async def test_an_outbox_over_its_bound_ends_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session, _, live = pair(max_outbox_bytes=1000)
    for _ in range(20):
        session.deliver(FRAME)
    await session.run(b"")
    assert session.ending is Ending.SLOW_READER
    assert live.discarded == 11


async def test_frames_of_a_tick_go_out_together_and_are_accounted_for(
    nursery: trio.Nursery,
) -> None:
    session, client, live = pair()
    for _ in range(3):
        session.deliver(FRAME)
    nursery.start_soon(session.run, b"")
    session.flush()
    assert [type(event) for event in await client.hear()] == [TextMessage] * 3
    await trio.testing.wait_all_tasks_blocked()
    assert (session.frames_written, live.written[FrameKind.DATA]) == (3, 3)
    session.end(Ending.CLOSED_BY_FAULT)


async def test_a_ping_is_answered_while_nothing_else_happens(nursery: trio.Nursery) -> None:
    session, client, _ = pair()
    nursery.start_soon(session.run, b"")
    await client.stream.send_all(client.protocol.send(Ping(b"still there?")))
    assert await client.hear() == [Pong(b"still there?")]
    session.end(Ending.CLOSED_BY_FAULT)


async def test_a_close_by_fault_sends_the_outbox_first(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    session, client, _ = pair()
    nursery.start_soon(session.run, b"")
    session.deliver(FRAME)
    session.end(Ending.CLOSED_BY_FAULT)
    heard = [*await client.hear(), *await client.hear()]
    assert [type(event) for event in heard] == [TextMessage, CloseConnection]
    assert heard[1] == CloseConnection(code=1001, reason="")


async def test_a_cut_by_fault_says_nothing(nursery: trio.Nursery) -> None:
    session, client, _ = pair()
    nursery.start_soon(session.run, b"")
    await trio.testing.wait_all_tasks_blocked()
    session.end(Ending.CUT_BY_FAULT)
    assert await client.hear() == []


async def test_the_first_reason_for_an_end_counts() -> None:
    session, _, _ = pair()
    session.end(Ending.CUT_BY_FAULT)
    session.end(Ending.CLIENT_GONE)
    assert session.ending is Ending.CUT_BY_FAULT


async def test_shutdown_says_goodbye_and_waits_a_second_at_most(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session, client, _ = pair()
    with trio.move_on_after(3):
        await session.run(b"")
    assert trio.current_time() == 4.0
    assert session.ending is Ending.SHUTDOWN
    assert await client.hear() == [CloseConnection(code=1001, reason="")]


async def test_a_client_s_close_is_answered(nursery: trio.Nursery) -> None:
    session, client, _ = pair()
    nursery.start_soon(session.run, client.protocol.send(CloseConnection(code=1000)))
    assert await client.hear() == [CloseConnection(code=1000, reason="")]
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert session.ending is Ending.CLIENT_CLOSED


async def test_bytes_that_are_no_websocket_end_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session, client, _ = pair()
    await session.run(b"\xff\xff\xff\xff")
    assert session.ending is Ending.CLIENT_CLOSED
    assert [type(event) for event in await client.hear()] == [CloseConnection]
