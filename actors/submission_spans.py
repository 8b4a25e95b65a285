"""The spans of submissions and of the units that commit them.

Owns how a submission's trace leads to its commit, although a unit takes submissions of many traces:
the unit is a trace of its own with a link to each of its submissions, and each of these has a child
`commit` in its own trace with a link back. At most MAX_LINKS of a unit have both. Nothing here
blocks or raises.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from domain.model import Outcome
from runtime import spans
from runtime.spans import MAX_LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from domain.model import Receipt, Submission
    from runtime.spans import SpanPlace

_TRACE_BYTES: Final = 16


def begin_submission(submission: Submission) -> None:
    """Begin the submission's span: a child of what it comes from, if that is in the same trace."""
    if not spans.is_recording():
        return
    span = spans.begin("submission", trace_id=submission.trace_id)
    span.set("lastheard.origin", submission.origin)
    span.set("lastheard.updates", len(submission.updates))
    if submission.ownership is not None:
        span.set("lastheard.resource", submission.ownership.resource)
    submission.span = span


def end_submission(submission: Submission, receipt: Receipt | None) -> None:
    """End the submission's span, when its receipt is delivered or it was not taken (None)."""
    span = submission.span
    if span is None:
        return
    if receipt is None:
        span.fail("not_committed")
    else:
        accepted = sum(result.outcome is Outcome.ACCEPTED for result in receipt.results)
        span.set("lastheard.accepted", accepted)
        span.set("lastheard.refused", len(receipt.results) - accepted)
    span.end()


@contextmanager
def unit_of(batch: Sequence[Submission]) -> Iterator[None]:
    """Record a unit for the length of the block, if one of its submissions is recorded."""
    places = _recorded(batch)
    if not places:
        yield
        return
    parents = places[:MAX_LINKS]
    unit_trace = secrets.token_hex(_TRACE_BYTES)
    unit = spans.begin("unit", trace_id=unit_trace, links=parents, always=True)
    unit.set("lastheard.submissions", len(batch))
    unit.set("lastheard.updates", sum(len(submission.updates) for submission in batch))
    links = [unit.place] if unit.place is not None else []
    commits = [spans.begin("commit", parent=parent, links=links) for parent in parents]
    try:
        with spans.within(unit):
            yield
    except BaseException as error:
        for span in (*commits, unit):
            span.fail(type(error).__name__)
        raise
    finally:
        for span in (*commits, unit):
            span.end()


def _recorded(batch: Sequence[Submission]) -> list[SpanPlace]:
    if not spans.is_recording():
        return []
    return [
        submission.span.place
        for submission in batch
        if submission.span is not None
        and submission.span.place is not None
        and submission.span.place.is_recorded
    ]
