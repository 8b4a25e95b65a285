"""The frame around every request: its trace id, its deadline, its place among those in flight, its body's bound.

An ASGI layer rather than hooks of the framework, because it must hold where hooks do not run: while a body
trickles in, when a handler hangs, and for answers that the framework itself makes. It must never look at what a
request means.

How a response ends early. A client that is still sending its body when we close would have its connection reset, and
a reset discards the answer it has not read yet. So before the last piece of every response the frame waits, for a
short while, until the body has arrived; meanwhile what arrives is read and dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import trio

from api.problem_types import DEADLINE_PASSED, ENDING, OVERLOADED
from api.problems import Problem
from api.traces import TRACE_HEADER, bind_trace_id

if TYPE_CHECKING:
    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        HTTPScope,
        Scope,
    )
    from quart_trio import QuartTrio

    from api.problem_types import ProblemType
    from api.traffic import HttpTraffic

RETRY_AFTER_SECONDS = 1.0
FAREWELL_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLimits:
    """Bounds of one request. Durations in seconds."""

    request_deadline_seconds: float = 30.0  # from the first byte of the body to the first of the response
    body_seconds: float = 10.0  # for the whole body to arrive once a handler asks for it: else 408
    response_seconds: float = 60.0  # for sending the response: then the connection is cut
    drain_seconds: float = 1.0  # for a body still arriving when the answer is already there
    max_drain_bytes: int = 8 * 1024 * 1024
    max_body_bytes: int = 1024 * 1024  # also for chunked bodies: else 413; imports have a bound of their own
    # Bodies can take so many times max_body_bytes of memory, and at worst, all of them imports, so many times 4 MiB
    # (api.device_import): 512 MiB, before what is parsed out of them.
    max_in_flight: int = 128
    # Probes are served under any load: a liveness probe that is shed gets a busy process killed.
    always_admitted: frozenset[str] = frozenset({"/healthz", "/readyz"})


def install_frame(app: QuartTrio, traffic: HttpTraffic, limits: FrameLimits | None = None) -> None:
    """Put the frame around `app`, outermost, and set the framework's own bounds. Call it once, after all else."""
    limits = limits or FrameLimits()
    app.config["MAX_CONTENT_LENGTH"] = limits.max_body_bytes
    app.config["BODY_TIMEOUT"] = limits.body_seconds
    app.config["RESPONSE_TIMEOUT"] = limits.response_seconds
    framed = RequestFrame(cast("ASGIFramework", app.asgi_app), traffic, limits)
    app.asgi_app = framed  # type: ignore[method-assign]


class RequestFrame:
    """ASGI middleware; see the module. Websockets pass through with a trace id only: they have no single answer."""

    def __init__(self, app: ASGIFramework, traffic: HttpTraffic, limits: FrameLimits) -> None:
        self._app = app
        self._traffic = traffic
        self._limits = limits

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
            return
        if scope["type"] == "websocket":
            bind_trace_id(scope["headers"])
        await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        trace_id = bind_trace_id(scope["headers"])
        exchange = _Exchange(receive, send, trace_id, self._traffic, self._limits)
        full = self._traffic.in_flight >= self._limits.max_in_flight
        if full and scope["path"] not in self._limits.always_admitted:
            self._traffic.shed += 1
            await exchange.refuse(OVERLOADED)
            return
        self._traffic.start_request()
        try:
            await self._run(scope, exchange)
        finally:
            self._traffic.end_request()

    async def _run(self, scope: HTTPScope, exchange: _Exchange) -> None:
        try:
            with trio.move_on_after(self._limits.request_deadline_seconds) as exchange.until_response:
                await self._app(scope, exchange.receive, exchange.send)
            if exchange.until_response.cancelled_caught:
                self._traffic.deadlines_passed += 1
                await exchange.refuse(DEADLINE_PASSED)
        finally:
            # Cancelled from outside: the server is at the end of its grace. A 503 tells the client more than a
            # connection that just closes, and lets it try elsewhere.
            if trio.current_effective_deadline() == -math.inf:
                with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                    await exchange.refuse(ENDING)


class _Exchange:
    """One request and its response, watched as they pass."""

    def __init__(
        self,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        trace_id: str,
        traffic: HttpTraffic,
        limits: FrameLimits,
    ) -> None:
        self._receive = receive
        self._send = send
        self._trace_id = trace_id
        self._traffic = traffic
        self._limits = limits
        self._arrived_bytes = 0
        self._body_done = trio.Event()  # arrived, or not worth waiting for any longer
        self.started = False
        self.until_response = trio.CancelScope()

    async def receive(self) -> ASGIReceiveEvent:
        event = await self._receive()
        if event["type"] != "http.request" or not event.get("more_body", False):
            self._body_done.set()
        else:
            self._arrived_bytes += len(event["body"])
            if self._arrived_bytes > self._limits.max_drain_bytes:
                self._body_done.set()
        return event

    async def send(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start":
            self.started = True
            # The handler has decided; sending has its own bounds (response_seconds, the server's write deadline).
            self.until_response.deadline = math.inf
            self._traffic.count_response(event["status"])
            event["headers"] = [*event["headers"], (TRACE_HEADER, self._trace_id.encode("ascii"))]
        elif event["type"] == "http.response.body" and not event["more_body"]:
            with trio.move_on_after(self._limits.drain_seconds):
                await self._body_done.wait()
        await self._send(event)

    async def refuse(self, kind: ProblemType) -> None:
        """Respond in the app's place, unless it has begun to. Drains the body beside it: nobody else reads now."""
        if self.started:
            return
        problem = Problem(kind, retry_after_seconds=RETRY_AFTER_SECONDS)
        status, headers, body = problem.encoded(self._trace_id)
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        raw.append((b"content-length", str(len(body)).encode("ascii")))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard_body)
            await self.send({"type": "http.response.start", "status": status, "headers": raw, "trailers": False})
            await self.send({"type": "http.response.body", "body": body, "more_body": True})
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()

    async def _discard_body(self) -> None:
        # To the disconnect, not to the end of the body: the server's queue to us is bounded, and once nobody takes
        # from it the server's own last message would wait for ever.
        while (await self.receive())["type"] != "http.disconnect":
            pass
