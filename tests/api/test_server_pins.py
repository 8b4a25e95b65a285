"""What api/server.py and api/connection.py take from Hypercorn is still what they were written against."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from hypercorn.trio.run import worker_serve
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

if TYPE_CHECKING:
    from collections.abc import Callable

PINNED = [
    (TCPServer.__init__, "4c1d42457bc197b2", "Connection passes its arguments on; check their names and order"),
    (
        TCPServer.run,
        "fd34b021d1a86c98",
        "_Server._serve contains what leaves it, and Connection relies on _task_group being set in it",
    ),
    (
        TCPServer.protocol_send,
        "225856426bff7be0",
        "Connection replaces its RawData branch and shields the others; carry changes over",
    ),
    (
        TCPServer._read_data,
        "7ca747d922c65cf1",
        "Connection wraps it; its last act must still be protocol.handle(Closed())",
    ),
    (TCPServer._close, "bc73c4ae25a1ceec", "Connection relies on it never blocking"),
    (worker_serve, "8dc8347a9fc357ca", "serve_http replaces it; carry over what a connection newly needs around it"),
    (WorkerContext, "45885f0c0bd5bc9d", "_Server makes one, and sets `terminated` at the stop"),
]


@pytest.mark.parametrize(("piece", "digest", "advice"), PINNED, ids=lambda value: getattr(value, "__qualname__", ""))
def test_hypercorn_is_still_what_the_server_was_written_against(
    piece: Callable[..., Any], digest: str, advice: str
) -> None:
    found = hashlib.sha256(inspect.getsource(piece).encode()).hexdigest()[:16]
    assert found == digest, (
        f"hypercorn's {piece.__qualname__} changed. Read it beside api/server.py and api/connection.py: {advice}. "
        f"Run tests/api/test_server.py and tests/api/test_malformed.py, then pin the new source as {found!r}."
    )
