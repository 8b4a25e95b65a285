"""The spans of this process: what was done, when, and as a part of what.

Owns the present span of each task and the way to begin one. A recorder (lastheard/otlp.py) keeps
spans and sends them; without one nothing is kept, and `span` costs one comparison. Like the log,
the recorder belongs to the process and not to one object. A span is for a cycle, a call, a
submission, a unit, a request or a query: never for a frame or an update.

The present span is a context variable, which a task inherits from the task that spawned it. So
`span` makes a child only within the same trace: what goes on for longer, such as a stream, names
another trace for each of its submissions, and these begin anew.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

Kind = Literal["internal", "client", "server"]
Value = str | int | float | bool

MAX_LINKS: Final = 128  # of one span


class SpanPlace(NamedTuple):
    """Where a span is: what its children and those that link to it must know.

    The ids are hexadecimal, of 32 and 16 digits. `is_recorded`: the span is kept, and so are its
    children.
    """

    trace_id: str
    span_id: str
    is_recorded: bool


class TraceSpan(Protocol):
    """Something that goes on. `end` it once; what comes after the end changes nothing."""

    @property
    def place(self) -> SpanPlace | None:
        """None: nothing is recorded in this process."""

    def set(self, name: str, value: Value) -> None:
        """Set an attribute. Never give it a secret, or what a client sent in a query."""

    def rename(self, name: str) -> None:
        """Give it the name that is known only now. Names are of a small set, too."""

    def fail(self, kind: str) -> None:
        """Mark it as failed. `kind` (`error.type`) is of a small set, such as a class's name."""

    def end(self) -> None: ...


class Recorder(Protocol):
    """Keeps spans. It must never block, and never raise."""

    def id_of(self, text: str) -> str:
        """Return the trace id, 32 hexadecimal digits, for one as our logs have it, of any form."""

    def keeps(self, trace_id: str) -> bool:
        """Return whether a trace that begins here is recorded: the same for each of its spans."""

    def begin(
        self,
        name: str,
        kind: Kind,
        trace_id: str,
        parent: SpanPlace | None,
        links: Sequence[SpanPlace],
        attributes: Mapping[str, Value] | None,
    ) -> TraceSpan:
        """Begin a span that is recorded."""

    def statistics(self) -> TraceStatistics: ...


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """The recorded spans of this process; totals, except for `waiting`."""

    ended: int
    sent: int
    dropped: int  # ended while the queue was full
    lost: int  # the collector did not take them
    waiting: int  # now


class _Unrecorded:
    """A span that is not kept, with the place that other processes are told of.

    Also the context manager that makes it the present one: `with` needs no second object.
    """

    __slots__ = ("place",)

    def __init__(self, place: SpanPlace | None) -> None:
        self.place = place

    def set(self, name: str, value: Value) -> None: ...

    def rename(self, name: str) -> None: ...

    def fail(self, kind: str) -> None: ...

    def end(self) -> None: ...

    def __enter__(self) -> _Unrecorded:
        return self

    def __exit__(self, *_: object) -> None: ...


NOTHING: Final = _Unrecorded(None)
_present: ContextVar[TraceSpan] = ContextVar("present_span", default=NOTHING)
_recorder: Recorder | None = None


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Keep spans with this recorder for the length of the block."""
    global _recorder
    before, _recorder = _recorder, recorder
    try:
        yield
    finally:
        _recorder = before


def statistics() -> TraceStatistics | None:
    """Return what became of the recorded spans; None while nothing is recorded."""
    return None if _recorder is None else _recorder.statistics()


def is_recording() -> bool:
    """Return whether spans are kept: otherwise the caller may save itself their attributes."""
    return _recorder is not None


def present() -> TraceSpan:
    """Return the span that this task is in; one that does nothing outside of any."""
    return _present.get()


def begin(
    name: str,
    kind: Kind = "internal",
    *,
    trace_id: str | None = None,
    parent: SpanPlace | None = None,
    links: Sequence[SpanPlace] = (),
    attributes: Mapping[str, Value] | None = None,
    always: bool = False,
) -> TraceSpan:
    """Begin a span that the caller ends. It does not become the present one.

    It is a child of `parent`, else of the present span if that is in the same trace, else the first
    of its trace. `trace_id` may have any form that our logs have. Without it and without `parent`
    it is a child of the present span, and nothing outside of one. `always`: record it although its
    trace, which begins here, is not one of the share that is recorded.
    """
    if _recorder is None:
        return NOTHING
    above = parent or _present.get().place
    trace = None if trace_id is None else _recorder.id_of(trace_id)
    if above is not None and trace in (None, above.trace_id):
        if not above.is_recorded:
            return _Unrecorded(above)
        return _recorder.begin(name, kind, above.trace_id, above, links, attributes)
    if trace is None:
        return NOTHING
    if not (always or _recorder.keeps(trace)):
        return _Unrecorded(SpanPlace(trace, "", is_recorded=False))
    return _recorder.begin(name, kind, trace, None, links, attributes)


def span(
    name: str,
    kind: Kind = "internal",
    *,
    trace_id: str | None = None,
    parent: SpanPlace | None = None,
    links: Sequence[SpanPlace] = (),
    attributes: Mapping[str, Value] | None = None,
) -> AbstractContextManager[TraceSpan]:
    """Begin a span as `begin` does, and have it be the present one for the length of the block.

    An exception that leaves the block marks it as failed, and a cancellation as cancelled.
    """
    if _recorder is None:
        return NOTHING
    made = begin(name, kind, trace_id=trace_id, parent=parent, links=links, attributes=attributes)
    return NOTHING if made is NOTHING else _Within(made, ends=True)


def within(made: TraceSpan) -> AbstractContextManager[TraceSpan]:
    """Have a span be the present one for the length of the block, and do not end it."""
    return NOTHING if made.place is None else _Within(made, ends=False)


class _Within:
    """The block in which a span is the present one."""

    __slots__ = ("_ends", "_made", "_token")

    def __init__(self, made: TraceSpan, *, ends: bool) -> None:
        self._made = made
        self._ends = ends

    def __enter__(self) -> TraceSpan:
        self._token = _present.set(self._made)
        return self._made

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _present.reset(self._token)
        if not self._ends:
            return
        if kind is not None:
            if issubclass(kind, trio.Cancelled):
                self._made.set("lastheard.cancelled", True)
            else:
                self._made.fail(kind.__name__)
        self._made.end()
