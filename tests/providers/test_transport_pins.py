"""providers/transport.py still fits httpx and httpcore, whose inner parts it is made of."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest
from httpcore._async.connection import AsyncHTTPConnection
from httpcore._backends.trio import TrioBackend, TrioStream

if TYPE_CHECKING:
    from collections.abc import Callable

PINNED: list[tuple[Callable[..., Any], str, str]] = [
    (
        httpx.AsyncHTTPTransport.__init__,
        "433c33239d86ec87",
        "DialledTransport calls it and then replaces _pool; "
        "should it take a network backend by now, pass that instead",
    ),
    (
        httpx.AsyncHTTPTransport.handle_async_request,
        "4dfd2e15d472a02f",
        "every request must still go to self._pool, and nowhere else",
    ),
    (
        httpx.AsyncHTTPTransport.aclose,
        "cef6e5ca8a3e8501",
        "it must still close self._pool",
    ),
    (
        httpx.AsyncClient._transport_for_url,
        "b3c8d01e7100e073",
        "only mounts may lead past the transport, and the client has none",
    ),
    (
        httpcore.AsyncConnectionPool.__init__,
        "4aae9f637656b8dd",
        "DialledTransport passes it the limits and the network backend",
    ),
    (
        httpcore.AsyncConnectionPool.create_connection,
        "fc66d06cb21b44f8",
        "without a proxy it must hand the network backend to every connection",
    ),
    (
        AsyncHTTPConnection._connect,
        "2f78c5464ee75543",
        "it must connect through the network backend only, and take TLS's name from the origin",
    ),
    (
        TrioBackend.connect_tcp,
        "3536052ebfb32aac",
        "_DialledBackend does the same with the dialler; carry over what it newly maps",
    ),
    (
        TrioStream,
        "3026ae81cb8e4230",
        "it must still take a trio stream, and close it",
    ),
]


@pytest.mark.parametrize(
    ("piece", "digest", "advice"), PINNED, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_httpx_is_still_what_the_transport_was_written_against(
    piece: Callable[..., Any], digest: str, advice: str
) -> None:
    found = hashlib.sha256(inspect.getsource(piece).encode()).hexdigest()[:16]
    assert found == digest, (
        f"{piece.__module__}'s {piece.__qualname__} changed. "
        f"Read it beside providers/transport.py: {advice}. "
        "Run tests/providers/test_dialled.py and tests/providers/test_http.py, "
        f"then pin the new source as {found!r}."
    )
