"""The spans of requests, as OpenTelemetry names them.

Only requests with a good key, JWT or sign-in have one: strangers cannot make this process record
anything, nor decide by a `traceparent` what it records. Path and query are never in a span: the
route and the ids say what was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime import spans

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from api.traces import RequestTrace
    from runtime.spans import TraceSpan

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "_OTHER"
_SERVER_ERROR: Final = 500
_OURS: Final = ("workspace_id", "device_id", "provider_id", "cycle_id")


def request_span(
    trace: RequestTrace, method: str, *, is_known: bool
) -> AbstractContextManager[TraceSpan]:
    """Record a request for the length of the block, from its admission to the end of its response.

    It continues the caller's `traceparent`. `is_known`: the caller was admitted by name.
    """
    if not spans.is_recording() or not is_known:
        return spans.NOTHING
    parent = None if trace.parent is None else spans.SpanPlace(*trace.parent)
    known = method if method in _METHODS else _OTHER
    return spans.span(
        known,
        "server",
        trace_id=trace.trace_id,
        parent=parent,
        attributes={"http.request.method": known},
    )


def name_route(method: str, path: str, arguments: Mapping[str, object]) -> None:
    """Say which route the present request matched, and the ids that its path names."""
    if not spans.is_recording():
        return
    request = spans.present()
    request.rename(f"{method} {path}")
    request.set("http.route", path)
    for name in _OURS:
        if name in arguments:
            request.set(f"lastheard.{name}", str(arguments[name]))


def note_status(span: TraceSpan, status: int | None) -> None:
    """Say how the request was answered; a 5xx is a failure."""
    if status is None:
        return
    span.set("http.response.status_code", status)
    if status >= _SERVER_ERROR:
        span.fail(str(status))
