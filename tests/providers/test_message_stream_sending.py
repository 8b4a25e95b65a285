"""What a connection sends to a server that does not take it: bounded, and never half a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from providers.websocket_handshake import Opened
from providers.websocket_stream import ANSWER_SECONDS, MessageStream, StreamEnded
from tests.providers.frame_streams import FIN, PING, as_frame, new_wire, text
from tests.providers.test_message_stream import read_to_the_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    Sending = Callable[[MessageStream], Awaitable[None]]

ASKED = as_frame(FIN | PING, b"?")
SENDINGS: list[Sending] = [MessageStream.ping, lambda connection: connection.send("subscribe")]


def connect(received: bytes = b"") -> tuple[MessageStream, trio.abc.ReceiveStream]:
    """A connection with its server's end. Sending waits until the server takes the bytes.

    `received` are bytes that came with the handshake.
    """
    ours, theirs = lockstep_stream_pair()
    return MessageStream(ours, Opened(new_wire(), received)), theirs


async def test_a_server_that_takes_no_pong_is_left_in_time(autojump_clock: MockClock) -> None:
    """It has sent two passes of frames with a ping in each; only the first ping is waited for."""
    sent = [b"%d" % number for number in range(200)]
    connection, _ = connect(ASKED + b"".join(map(text, sent)) + ASKED)
    begun = trio.current_time()
    with trio.fail_after(60):
        assert await read_to_the_end(connection) == (sent, 1006)
    assert trio.current_time() - begun == pytest.approx(ANSWER_SECONDS)


async def test_a_pong_behind_a_stuck_message_is_not_awaited_for_ever(
    autojump_clock: MockClock,
) -> None:
    connection, _ = connect(ASKED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, "subscribe")
        await wait_all_tasks_blocked()
        with trio.fail_after(60):
            assert await read_to_the_end(connection) == ([], 1006)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("begin", SENDINGS)
@pytest.mark.parametrize("follow", SENDINGS)
async def test_nothing_follows_a_frame_that_was_cut(
    begin: Sending, follow: Sending, autojump_clock: MockClock
) -> None:
    connection, server = connect()
    with trio.move_on_after(5) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin, connection)
            assert len(await server.receive_some(3)) == 3
    assert scope.cancelled_caught
    for action in (follow(connection), connection.receive()):
        with trio.fail_after(5), pytest.raises(StreamEnded):
            await action
    with trio.fail_after(5):
        await connection.say_goodbye()


async def test_a_cancelled_pong_ends_the_reader_as_cancelled(autojump_clock: MockClock) -> None:
    connection, _ = connect(ASKED + text(b"good"))
    with trio.move_on_after(5) as scope:
        await connection.receive()
    assert scope.cancelled_caught
    with trio.fail_after(5), pytest.raises(StreamEnded):
        await connection.receive()


async def test_a_ping_that_waits_its_turn_follows_no_cut_frame(
    autojump_clock: MockClock,
) -> None:
    connection, _ = connect()
    first = trio.CancelScope()

    async def be_cut() -> None:
        with first:
            await connection.send("subscribe")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_cut)
        await wait_all_tasks_blocked()
        nursery.start_soon(_cancel_when_blocked, first)
        with trio.fail_after(5), pytest.raises(StreamEnded):
            await connection.ping()


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_cancelled_wait_to_send_breaks_nothing(autojump_clock: MockClock) -> None:
    connection, server = connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, "subscribe")
        await wait_all_tasks_blocked()
        with trio.move_on_after(5) as scope:
            await connection.ping()
        assert scope.cancelled_caught
        await server.receive_some()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, "again")
        assert await server.receive_some()
