"""The trace id of the present request: the client's if it has the right form, otherwise a new one.

It is in structlog's context, so every log line below a handler has it. It must never be read
outside a request: an actor binds its own.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACE_HEADER = b"x-request-id"

_FIT = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def bind_trace_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Start a new log context for this task with the request's trace id, and return that id.

    The old context is cleared: a task inherits the context of the task that spawned it, and on a
    kept-alive connection that may have an earlier request's ids.
    """
    offered = next((value for name, value in headers if name.lower() == TRACE_HEADER), b"")
    trace_id = offered.decode("ascii") if _FIT.fullmatch(offered) else secrets.token_hex(16)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(trace_id=trace_id)
    return trace_id


def current_trace_id() -> str | None:
    """Return the trace id of the request that this task serves; None outside a request."""
    trace_id = structlog.contextvars.get_contextvars().get("trace_id")
    return trace_id if isinstance(trace_id, str) else None
