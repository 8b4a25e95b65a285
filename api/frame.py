"""The frame around every request: trace id, deadline, place in flight, and the bound of its body.

It is an ASGI layer, because hooks of the framework do not run in three cases: while a body arrives
slowly, when a handler hangs, and for answers that the framework itself makes. It must never
interpret a request.

A response may end before the request's body has arrived. If we closed then, the connection would be
reset, and the reset would discard the answer that the client has not read yet. So before the last
piece of every response the frame waits, for a short while, until the body has arrived. Meanwhile
the body is read and dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import structlog
import trio

from api.connection import SHOW_KEY, SHOW_STREAM
from api.gate import RETRY_AFTER_SECONDS
from api.http_task import RequestTask
from api.problem_types import DEADLINE_PASSED, ENDING
from api.problems import Problem, problem_for
from api.request_spans import note_status, request_span
from api.traces import TRACE_HEADER, bind_trace_id
from runtime.faults import EnvironmentFault
from runtime.line_limit import WITHOUT_KEY
from runtime.measures import UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Callable

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

    from api.gate import Gate
    from api.in_flight import Caller
    from api.problems import Encoded
    from api.traces import RequestTrace
    from api.traffic import HttpTraffic
    from runtime.measures import Measures

    EncodeRefusal: TypeAlias = Callable[[HTTPScope, Problem, str], Encoded]

FAREWELL_SECONDS = 2.0
# The route of a request, which is written into its scope once the framework has found it. The
# others were refused before that.
ROUTE = "lastheard.route"
REFUSED_ROUTE = "refused"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# For sending an answer of the frame's own: a client that does not read must not hold a task.
REFUSAL_SECONDS = 5.0


def encode_problem(scope: HTTPScope, problem: Problem, trace_id: str) -> Encoded:
    """Return the problem document, whatever the client asked for."""
    return problem.encoded(trace_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLimits:
    """Bounds of one request. Durations in seconds."""

    request_deadline_seconds: float = (
        30.0  # from the first byte of the body to the first of the response
    )
    body_seconds: float = 10.0  # for the whole body to arrive once a handler asks for it: else 408
    response_seconds: float = 60.0  # for sending the response: then the connection is cut
    drain_seconds: float = 1.0  # for a body still arriving when the answer is already there
    max_drain_bytes: int = 8 * 1024 * 1024
    max_body_bytes: int = (
        1024 * 1024
    )  # also for chunked bodies: else 413; imports have a bound of their own


def install_frame(
    app: QuartTrio,
    traffic: HttpTraffic,
    gate: Gate,
    limits: FrameLimits | None = None,
    measures: Measures = UNMEASURED,
    encode_refusal: EncodeRefusal = encode_problem,
) -> None:
    """Put the frame around `app`, outermost, and set the framework's bounds and its tasks.

    Call it once, last.

    `encode_refusal` makes the answers to requests that do not reach the app.
    """
    limits = limits or FrameLimits()
    app.config["MAX_CONTENT_LENGTH"] = limits.max_body_bytes
    app.config["BODY_TIMEOUT"] = limits.body_seconds
    app.config["RESPONSE_TIMEOUT"] = limits.response_seconds
    app.asgi_http_class = RequestTask
    framed = RequestFrame(
        cast("ASGIFramework", app.asgi_app), traffic, gate, limits, measures, encode_refusal
    )
    app.asgi_app = framed  # type: ignore[method-assign]


class RequestFrame:
    """ASGI middleware; see the module. It gets HTTP only: the server offers no websockets."""

    def __init__(
        self,
        app: ASGIFramework,
        traffic: HttpTraffic,
        gate: Gate,
        limits: FrameLimits,
        measures: Measures = UNMEASURED,
        encode_refusal: EncodeRefusal = encode_problem,
    ) -> None:
        self._app = app
        self._traffic = traffic
        self._gate = gate
        self._limits = limits
        self._measures = measures
        self._encode_refusal = encode_refusal

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "http":
            raise RuntimeError(
                f"the server handed on a scope of the type {scope['type']}; it serves HTTP only"
            )
        trace = bind_trace_id(scope["headers"])
        structlog.contextvars.bind_contextvars(**{WITHOUT_KEY: True})
        count = _Count(scope, self._traffic, self._measures)
        encode = partial(self._encode_refusal, scope)
        await self._run(scope, _Exchange(receive, send, trace, count, self._limits, encode))

    async def _run(self, scope: HTTPScope, exchange: _Exchange) -> None:
        try:
            with trio.move_on_after(
                self._limits.request_deadline_seconds
            ) as exchange.until_response:
                await self._serve(scope, exchange)
            if exchange.until_response.cancelled_caught:
                self._traffic.deadlines_passed += 1
                await exchange.refuse(
                    Problem(DEADLINE_PASSED, retry_after_seconds=RETRY_AFTER_SECONDS)
                )
        finally:
            # Cancelled from outside: the server's grace has ended. A 503 tells the client more than
            # a closed connection, and the client can try another shard.
            if trio.current_effective_deadline() == -math.inf:
                with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                    await exchange.refuse(Problem(ENDING, retry_after_seconds=RETRY_AFTER_SECONDS))

    async def _serve(self, scope: HTTPScope, exchange: _Exchange) -> None:
        try:
            caller = await self._gate.admit(scope)
        except (Problem, EnvironmentFault) as refusal:
            await exchange.refuse(problem_for(refusal))
            return
        if caller.who is not None:
            structlog.contextvars.unbind_contextvars(WITHOUT_KEY)
            _show(scope, SHOW_KEY)
            if caller.is_stream:
                _show(scope, SHOW_STREAM)
        begin, end = self._counters(caller)
        is_known = caller.who is not None and not caller.is_stream  # which goes on for hours
        begin()
        try:
            with request_span(exchange.trace, scope["method"], is_known=is_known) as span:
                await self._app(scope, exchange.receive, exchange.send)
                note_status(span, exchange.status)
        finally:
            end()
            self._gate.leave(caller, exchange.status)

    def _counters(self, caller: Caller) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return what counts the request's begin and end: streams are counted apart."""
        traffic = self._traffic
        if caller.is_stream:
            return traffic.start_stream, traffic.end_stream
        return traffic.start_request, traffic.end_request


def _show(scope: HTTPScope, what: str) -> None:
    """Tell the connection something, if there is one: a test's client has no connection."""
    show: Callable[[], None] | None = scope.get("state", {}).get(what)
    if show is not None:
        show()


class _Count:
    """Counts one request when its answer begins, and measures the time until then.

    Later times are the client's: it may read slowly, or keep a stream of events open for hours.
    """

    def __init__(self, scope: HTTPScope, traffic: HttpTraffic, measures: Measures) -> None:
        self._scope = scope
        self._traffic = traffic
        self._measures = measures
        self._began = trio.current_time()

    def note_answer(self, status: int) -> None:
        self._traffic.count_response(status)
        route = str(self._scope.get(ROUTE, REFUSED_ROUTE))
        # Clients choose the method: its values must not grow without a bound.
        method = self._scope["method"] if self._scope["method"] in METHODS else "other"
        self._measures.request_seconds(trio.current_time() - self._began, route, method)
        self._measures.requests(1, route, method, f"{status // 100}xx")


class _Exchange:
    """One request and its response, on their way through the frame."""

    def __init__(
        self,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        trace: RequestTrace,
        count: _Count,
        limits: FrameLimits,
        encode: Callable[[Problem, str], Encoded],
    ) -> None:
        self._receive = receive
        self._send = send
        self.trace = trace
        self._count = count
        self._limits = limits
        self._encode = encode
        self._arrived_bytes = 0
        self._body_done = trio.Event()  # it has arrived, or exceeds max_drain_bytes
        self.status: int | None = None  # of the response, once it has begun
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
            self.status = event["status"]
            # The handler has answered. Sending has bounds of its own: response_seconds, and the
            # server's deadline for a write.
            self.until_response.deadline = math.inf
            self._count.note_answer(event["status"])
            event["headers"] = [
                *event["headers"],
                (TRACE_HEADER, self.trace.trace_id.encode("ascii")),
            ]
        elif event["type"] == "http.response.body" and not event["more_body"]:
            await self._drain()
        await self._send(event)

    async def _drain(self) -> None:
        if not self._body_done.is_set():  # as a rule it has arrived: no scope and no turn then
            with trio.move_on_after(self._limits.drain_seconds):
                await self._body_done.wait()

    async def refuse(self, problem: Problem) -> None:
        """Respond in place of the app, unless the app's response has begun.

        Reads and drops the body meanwhile, since the app does not read it any more. Waits
        REFUSAL_SECONDS at most.
        """
        if self.status is not None:
            return
        with trio.move_on_after(REFUSAL_SECONDS):
            await self._refuse(problem)

    async def _refuse(self, problem: Problem) -> None:
        status, headers, body = self._encode(problem, self.trace.trace_id)
        raw = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ]
        raw.append((b"content-length", str(len(body)).encode("ascii")))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard_body)
            await self.send(
                {"type": "http.response.start", "status": status, "headers": raw, "trailers": False}
            )
            await self.send({"type": "http.response.body", "body": body, "more_body": True})
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()

    async def _discard_body(self) -> None:
        # Read on until the disconnect, not only to the end of the body: the server's queue to us is
        # bounded, and without a reader the server would wait for ever to put its last message.
        while (await self.receive())["type"] != "http.disconnect":
            pass
