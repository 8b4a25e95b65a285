"""The trace context that a call to a provider carries (W3C Trace Context).

Only `traceparent` is sent. `tracestate` holds what other vendors' tracing systems said about the
caller, which is nothing that a provider of telematics should learn.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from domain.trace_context import HEADER, to_trace_id, write_traceparent
from runtime import spans
from runtime.tracing import trace_of_calls

if TYPE_CHECKING:
    from httpx import URL

_SPAN_BYTES = 8


def trace_headers() -> dict[str, str]:
    """Return the headers of one call: its trace, and the call's span. Empty outside a trace.

    A call whose span is not recorded gets a new span id. If spans are recorded in this process, the
    header says whether this one is.
    """
    trace_id = trace_of_calls()
    if trace_id is None:
        return {}
    place = spans.present().place
    if place is not None and place.is_recorded and place.trace_id == to_trace_id(trace_id):
        return {HEADER: write_traceparent(trace_id, place.span_id)}
    is_recorded = not spans.is_recording()
    span_id = secrets.token_hex(_SPAN_BYTES)
    return {HEADER: write_traceparent(trace_id, span_id, is_recorded=is_recorded)}


def describe_call(method: str, url: URL) -> None:
    """Set what the present span says of a call: to where, without path and query.

    A vendor's path may have a vehicle or an account in it, and its query a key.
    """
    if not spans.is_recording():
        return
    called = spans.present()
    called.set("http.request.method", method)
    called.set("url.scheme", url.scheme)
    called.set("server.address", url.host)
    if url.port is not None:
        called.set("server.port", url.port)
