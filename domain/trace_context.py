"""The rules of W3C Trace Context, level 1: how one trace id passes from process to process.

Pure: span ids, which are chance, come in from outside. https://www.w3.org/TR/trace-context-1/
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER: Final = "traceparent"

_VERSION_0: Final = "00"
_INVALID_VERSION: Final = "ff"
_LENGTH: Final = 55  # of version 00, and of the part that every later version begins with
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_RECORDED: Final = "01"
_NOT_RECORDED: Final = "00"
_RECORDED_BIT: Final = 1


class TraceParent(NamedTuple):
    """Who called: the trace, 32 hex digits, and the caller's span in it, 16 hex digits."""

    trace_id: str
    span_id: str
    is_recorded: bool  # by the caller


def read_traceparent(values: Sequence[str]) -> TraceParent | None:
    """Return what a request's `traceparent` headers say.

    None if there is no such header, more than one, or an invalid one. Of a version that is not
    known only the part is read that every later version begins with.
    """
    if len(values) != 1:
        return None
    (text,) = values
    found = _FORM.fullmatch(text[:_LENGTH])
    if found is None:
        return None
    version, trace_id, parent_id, flags = found.groups()
    rest = text[_LENGTH:]
    if version == _INVALID_VERSION or (rest and version == _VERSION_0):
        return None
    if rest and not rest.startswith("-"):
        return None
    if not (_is_id(trace_id) and _is_id(parent_id)):
        return None
    return TraceParent(trace_id, parent_id, bool(int(flags, 16) & _RECORDED_BIT))


def read_trace_id(values: Sequence[str]) -> str | None:
    """Return the trace id of a request's `traceparent` headers, 32 hex digits; None without one."""
    parent = read_traceparent(values)
    return None if parent is None else parent.trace_id


def write_traceparent(trace_id: str, span_id: str, *, is_recorded: bool = True) -> str:
    """Return the header that passes a trace on to another process.

    `span_id` is 16 hex digits, another one for each call. By default the trace is marked as
    recorded, because every cycle is, in the log and in the database.
    """
    flags = _RECORDED if is_recorded else _NOT_RECORDED
    return f"{_VERSION_0}-{to_trace_id(trace_id)}-{span_id}-{flags}"


def to_trace_id(text: str) -> str:
    """Return a trace id as the header can carry it: as it is, if it is 32 lower-case hex digits.

    Any other text, such as a client's X-Request-Id, becomes the first 32 digits of its SHA-256. So
    all calls of one trace share an id, and anyone who knows the text can compute it.
    """
    if _TRACE_ID.fullmatch(text) and _is_id(text):
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_id(digits: str) -> bool:
    """Return whether the id is one: all zeros mean that there is none."""
    return digits.strip("0") != ""
