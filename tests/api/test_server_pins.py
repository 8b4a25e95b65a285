"""The pieces of others that our server builds on have not changed."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.run import worker_serve
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from quart_trio.asgi import TrioASGIHTTPConnection

if TYPE_CHECKING:
    from collections.abc import Callable

PINNED = [
    (
        TCPServer.__init__,
        "4c1d42457bc197b2",
        "Connection passes its arguments on; check their names and order",
    ),
    (
        TCPServer.run,
        "fd34b021d1a86c98",
        "Connection.run replaces it, without TLS; carry over what it newly does",
    ),
    (
        TCPServer.protocol_send,
        "225856426bff7be0",
        "Connection replaces its RawData and Updated branches and shields the other; carry changes"
        " over",
    ),
    (
        TCPServer._read_data,
        "7ca747d922c65cf1",
        "Connection wraps it; its last act must still be protocol.handle(Closed())",
    ),
    (
        ProtocolWrapper,
        "caf949187e9b4a81",
        "Protocol makes protocols of its own in its place, in the same order of arguments,"
        " and refuses h2c",
    ),
    (H11Protocol._check_protocol, "f95f6b38f43c62aa", "Http1 hides the Upgrade field from it"),
    (
        H11Protocol._create_stream,
        "a2338a57ab343908",
        "Http1 hides the Upgrade field from it, so it makes no WSStream",
    ),
    (
        H11Protocol._handle_events,
        "bd4a76b2837e8722",
        "the connection table relies on Updated(idle=False) at each request's head",
    ),
    (
        H2Protocol.__init__,
        "d577a96e2eb647a4",
        "Http2 replaces its local settings, without ENABLE_CONNECT_PROTOCOL",
    ),
    (
        H2Protocol._create_stream,
        "91eb123ddf247ede",
        "Http2 resets CONNECT before it, so it makes no WSStream",
    ),
    (H2Protocol.handle, "c67e89eb79af9032", "Http2 hands it the bytes piece by piece"),
    (
        H2Protocol._handle_events,
        "3378aef0a2348f0d",
        "Http2 counts the events before it handles them",
    ),
    (
        H11Protocol._send_h11_event,
        "5e40283daa303ec7",
        "Http1 replaces it, to send head and body together",
    ),
    (
        TCPServer._idle_timeout,
        "210ce1014d98e1cb",
        "Connection._close_when_idle replaces it and the task around it",
    ),
    (H11Protocol._send_error_response, "58c2b47ae295d000", "Http1 refuses two lengths with it"),
    (TCPServer._close, "bc73c4ae25a1ceec", "Connection relies on it never blocking"),
    (
        worker_serve,
        "8dc8347a9fc357ca",
        "serve_http replaces it; carry over what a connection newly needs around it",
    ),
    (
        TrioASGIHTTPConnection.__call__,
        "98802020652fd68b",
        "RequestTask replaces it, without a task for the handler",
    ),
    (WorkerContext, "45885f0c0bd5bc9d", "_Server makes one, and sets `terminated` at the stop"),
]


@pytest.mark.parametrize(
    ("piece", "digest", "advice"), PINNED, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_they_are_still_what_the_server_was_written_against(
    piece: Callable[..., Any], digest: str, advice: str
) -> None:
    found = hashlib.sha256(inspect.getsource(piece).encode()).hexdigest()[:16]
    assert found == digest, (
        f"{piece.__module__}'s {piece.__qualname__} changed. Read it beside api/server.py and"
        f" api/connection.py: {advice}. Run tests/api/test_server.py and"
        f" tests/api/test_malformed.py, then pin the new source as {found!r}."
    )
