"""NFR-003: a call to a provider carries the trace that it belongs to, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from domain.model import ProviderConnection
from domain.trace_context import read_trace_id
from providers.http import HttpPool
from providers.viriciti import ViriCiti
from runtime.tracing import calls_of_trace, trace_of_calls
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler, websocket_server
from tests.providers.viriciti_streams import open_streamer

if TYPE_CHECKING:
    from trio_websocket import WebSocketRequest

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
KEY = "0f0f-s3cret-key"


async def _call_twice(trace_id: str | None) -> list[Asked]:
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        asked.append(request)
        return Reply()

    async with HttpPool(loopback_dialler()) as http, http_server(answer) as base:
        connection = ProviderConnection("acme", "live", "viriciti", "stream", base, "env:KEY", {})
        poller = ViriCiti(http).open_poller(connection, KEY)
        with calls_of_trace(trace_id):
            await poller.fetch(["bus_1"], None, None)
            await poller.fetch(["bus_1"], None, None)
    return asked


async def test_nfr_003_every_call_has_its_trace_and_its_own_span() -> None:
    sent = [request.headers["traceparent"] for request in await _call_twice(TRACE)]
    assert [read_trace_id([each]) for each in sent] == [TRACE, TRACE]
    assert len({each.split("-")[2] for each in sent}) == 2
    assert {each[-3:] for each in sent} == {"-01"}


async def test_nfr_003_a_call_tells_nothing_else_of_the_caller() -> None:
    for request in await _call_twice("a-clients-own-id"):
        assert read_trace_id([request.headers["traceparent"]]) is not None
        assert "tracestate" not in request.headers
        assert "a-clients-own-id" not in str(request)


async def test_a_call_outside_a_trace_carries_none() -> None:
    assert ["traceparent" in request.headers for request in await _call_twice(None)] == [False] * 2


async def test_nfr_003_a_handshake_carries_the_trace_of_its_stream() -> None:
    seen: list[str] = []

    async def handle(request: WebSocketRequest) -> None:
        seen.append(dict(request.headers)[b"traceparent"].decode())
        await request.accept()

    async with HttpPool(loopback_dialler()) as http, websocket_server(handle) as base:
        streamer = open_streamer(ViriCiti(http), base)
        for _ in range(2):
            with calls_of_trace(TRACE):
                async with streamer.connect():
                    pass
    assert [read_trace_id([each]) for each in seen] == [TRACE, TRACE]
    assert len(set(seen)) == 2


async def test_a_trace_ends_with_its_block() -> None:
    with calls_of_trace("outer"):
        with calls_of_trace("inner"):
            await trio.lowlevel.checkpoint()
            assert trace_of_calls() == "inner"
        assert trace_of_calls() == "outer"
    assert trace_of_calls() is None
