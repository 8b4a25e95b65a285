"""The spans of calls to the database, as OpenTelemetry names them.

A call has one if it is a part of something that has one. Its name is that of the store's method
that asks, or of its statement in storage/sql/; no statement's text and no value is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime import spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from runtime.spans import TraceSpan

_LOCAL: Final = ".<locals>"


def query_span(work: Callable[..., object], name: str | None) -> AbstractContextManager[TraceSpan]:
    """Record a call for the length of the block: its wait for a connection, and its statements.

    `work` is what the call does. Without a `name` it is named after the method that defines it.
    """
    if not spans.is_recording():
        return spans.NOTHING
    if name is None:
        made_by = str(getattr(work, "__qualname__", "query")).partition(_LOCAL)[0]
        name = made_by.rpartition(".")[2].lstrip("_")
    said = {"db.system.name": "postgresql", "db.query.summary": name}
    return spans.span(name, "client", attributes=said)
