"""The trace id of the present request: that of its `traceparent`, its X-Request-Id, or a new one.

It is in structlog's context, so every log line below a handler has it. It must never be read
outside a request: an actor binds its own.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, NamedTuple

import structlog

from domain.trace_context import HEADER, TraceParent, read_traceparent

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACE_HEADER = b"x-request-id"

_PARENT_HEADER = HEADER.encode()
_FIT = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestTrace(NamedTuple):
    """The trace of a request, and the caller's span in it if a `traceparent` names one."""

    trace_id: str
    parent: TraceParent | None


def bind_trace_id(headers: Iterable[tuple[bytes, bytes]]) -> RequestTrace:
    """Start a new log context for this task with the request's trace id, and return the trace.

    A valid `traceparent` (W3C Trace Context) comes first: the whole chain of callers has its trace
    id. X-Request-Id comes next; beside a traceparent it is only logged, as `request_id`. A header
    that is not valid counts as absent, and is never an error.

    The old context is cleared: a task inherits the context of the task that spawned it, and on a
    kept-alive connection that may have an earlier request's ids.
    """
    parents, offered = [], ""
    for name, value in headers:
        if name.lower() == _PARENT_HEADER:
            parents.append(value.decode("latin-1"))
        elif name.lower() == TRACE_HEADER and not offered and _FIT.fullmatch(value):
            offered = value.decode("ascii")
    parent = read_traceparent(parents)
    trace_id = (parent.trace_id if parent else offered) or secrets.token_hex(16)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(trace_id=trace_id)
    if parent and offered:
        structlog.contextvars.bind_contextvars(request_id=offered)
    return RequestTrace(trace_id, parent)


def current_trace_id() -> str | None:
    """Return the trace id of the request that this task serves; None outside a request."""
    trace_id = structlog.contextvars.get_contextvars().get("trace_id")
    return trace_id if isinstance(trace_id, str) else None
