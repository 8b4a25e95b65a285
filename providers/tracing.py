"""The trace context that a call to a provider carries (W3C Trace Context).

Only `traceparent` is sent. `tracestate` holds what other vendors' tracing systems said about the
caller, which is nothing that a provider of telematics should learn.
"""

from __future__ import annotations

import secrets

from domain.trace_context import HEADER, write_traceparent
from runtime.tracing import trace_of_calls

_SPAN_BYTES = 8


def trace_headers() -> dict[str, str]:
    """Return the headers of one call: its trace, with a new span id. Empty outside a trace."""
    trace_id = trace_of_calls()
    if trace_id is None:
        return {}
    return {HEADER: write_traceparent(trace_id, secrets.token_hex(_SPAN_BYTES))}
