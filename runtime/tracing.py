"""The trace that this task's calls to other services belong to.

A context variable, so that a call of any provider carries the trace without every layer between
handing it on. It is set around single calls only: a task inherits the context of the task that
spawned it, and must not continue a trace that is over.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CURRENT: ContextVar[str | None] = ContextVar("trace_of_calls", default=None)


@contextmanager
def calls_of_trace(trace_id: str | None) -> Iterator[None]:
    """Have the calls inside the block carry this trace id. None: they carry none."""
    before = _CURRENT.set(trace_id)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def trace_of_calls() -> str | None:
    """Return the trace id that a call made now carries; None outside `calls_of_trace`."""
    return _CURRENT.get()
