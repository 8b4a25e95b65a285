"""Requests without a good key that might make a server write a log line.

Each is sent on its own connection.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from h2.connection import H2Connection
from h2.events import StreamEnded

from tests.api.test_malformed import CASES, QUIET_SECONDS
from tests.processes.shard import PREFIX
from tests.processes.strangers import SAME_KEY, connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

API: Final = PREFIX.encode()
WRONG: Final = f"Authorization: Bearer {SAME_KEY}".encode()
SOURCES: Final = tuple(f"127.0.0.{number}" for number in range(4, 14))
ANSWER_SECONDS: Final = 10.0


def ask(start: bytes, *lines: bytes, body: bytes = b"") -> list[bytes]:
    return [b"\r\n".join([start + b" HTTP/1.1", b"Host: a", *lines, b"", b""]) + body]


SENT: Final[dict[str, list[bytes]]] = {
    **CASES,
    "a wrong key": ask(b"GET " + API + b"/workspaces", WRONG),
    "no key": ask(b"GET " + API + b"/workspaces"),
    "a key that is none": ask(b"GET " + API + b"/workspaces", b"Authorization: Bearer \xff\xfe"),
    "bad JSON": ask(
        b"POST " + API + b"/ingest",
        b"Content-Type: application/json",
        b"Content-Length: 1",
        body=b"{",
    ),
    "bad JSON with a wrong key": ask(
        b"POST " + API + b"/ingest", WRONG, b"Content-Length: 1", body=b"{"
    ),
    "a path that is not there": ask(b"GET /nowhere/%00/%ff"),
    "a query that is no text": ask(b"GET /healthz?%ff=%00&=&&"),
    "a method that is not there": ask(b"BREW /healthz"),
    "an unready probe": ask(b"GET /readyz"),
    "a length that is no number": ask(b"POST " + API + b"/ingest", b"Content-Length: many"),
    "an expectation": ask(
        b"POST " + API + b"/ingest", b"Expect: 100-continue", b"Content-Length: 9"
    ),
}


async def send(source: str, port: int, pieces: list[bytes], *, reset: bool) -> None:
    """Send the pieces, each after a moment for an answer. Then close or reset the connection."""
    try:
        async with await connect(source, port) as stream:
            for piece in pieces:
                await stream.send_all(piece)
                with trio.move_on_after(QUIET_SECONDS):
                    await stream.receive_some(65536)
            if reset:
                stream.setsockopt(
                    trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
    except (OSError, trio.BrokenResourceError):
        pass  # the server ended the connection first


async def send_a_body_after_the_answer(source: str, port: int) -> None:
    """Send a body over h2 to a stream that has ended, which makes Hypercorn's code fail."""
    client = H2Connection()
    client.initiate_connection()
    client.send_headers(
        1, [(":method", "POST"), (":path", "/healthz"), (":scheme", "http"), (":authority", "a")]
    )
    try:
        async with await connect(source, port) as stream:
            with trio.move_on_after(ANSWER_SECONDS):
                await _wait_for_the_answer(client, stream)
                client.send_data(1, b"x")
                await stream.send_all(client.data_to_send())
                await stream.receive_some(65536)
    except (OSError, trio.BrokenResourceError):
        pass


async def _wait_for_the_answer(client: H2Connection, stream: trio.SocketStream) -> None:
    ended = False
    while not ended:
        await stream.send_all(client.data_to_send())
        data = await stream.receive_some(65536)
        ended = not data or any(
            isinstance(event, StreamEnded) for event in client.receive_data(data)
        )


def nuisances(port: int, times: int) -> Iterator[Callable[[], Awaitable[None]]]:
    """Send every nuisance so many times, from changing addresses."""
    for number in range(times):
        for place, pieces in enumerate(SENT.values()):
            source = SOURCES[(number + place) % len(SOURCES)]
            yield partial(send, source, port, pieces, reset=number % 2 == 1)
        yield partial(send_a_body_after_the_answer, SOURCES[number % len(SOURCES)], port)
