"""Spans without a recorder, and what a recorder is told."""

from __future__ import annotations

import pytest
import trio

from runtime import spans
from runtime.spans import SpanPlace
from tests.span_book import Book

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "0af7651916cd43dd8448eb211c80319c"


def test_without_a_recorder_every_span_is_the_same_nothing() -> None:
    with spans.span("cycle", trace_id=TRACE) as span:
        assert span is spans.NOTHING is spans.present() is spans.begin("call")
        span.set("a", 1)
    assert spans.statistics() is None


def test_a_span_is_the_child_of_the_present_one_of_its_trace() -> None:
    book = Book(TRACE, OTHER)
    with spans.recording(book), spans.span("cycle", trace_id=TRACE):
        with spans.span("call"), spans.span("query"):
            pass
        with spans.span("submission", trace_id=OTHER):
            pass
    found = {span.name: span.parent for span in book.spans}
    assert found == {"cycle": None, "call": f"{0:016x}", "query": f"{1:016x}", "submission": None}
    assert [span.ends for span in book.spans] == [1, 1, 1, 1]


def test_outside_of_a_trace_a_query_has_no_span() -> None:
    book = Book(TRACE)
    with spans.recording(book), spans.span("query") as span:
        assert span is spans.NOTHING
    assert book.spans == []


def test_below_an_unrecorded_span_nothing_is_recorded() -> None:
    book = Book(OTHER)
    with (
        spans.recording(book),
        spans.span("cycle", trace_id=TRACE) as cycle,
        spans.span("call") as call,
    ):
        assert call.place == cycle.place == SpanPlace(TRACE, "", is_recorded=False)
    assert book.spans == []


def test_an_error_marks_every_span_that_it_leaves() -> None:
    book = Book(TRACE)
    with (
        pytest.raises(KeyError),
        spans.recording(book),
        spans.span("cycle", trace_id=TRACE),
        spans.span("call"),
    ):
        raise KeyError("secret")
    assert [span.failed for span in book.spans] == ["KeyError", "KeyError"]
    assert "secret" not in str(book.spans)


async def test_a_cancelled_span_is_not_a_failed_one() -> None:
    book = Book(TRACE)
    with trio.move_on_after(0), spans.recording(book), spans.span("cycle", trace_id=TRACE):
        await trio.sleep_forever()
    (span,) = book.spans
    assert (span.failed, span.attributes, span.ends) == (None, {"lastheard.cancelled": True}, 1)


async def test_a_task_keeps_the_span_that_it_was_started_in() -> None:
    book = Book(TRACE)

    async def call() -> None:
        with spans.span("call"):
            await trio.lowlevel.checkpoint()

    with spans.recording(book), spans.span("cycle", trace_id=TRACE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            nursery.start_soon(call)
    assert [span.parent for span in book.spans[1:]] == [f"{0:016x}"] * 2


def test_a_block_within_a_span_does_not_end_it() -> None:
    book = Book(TRACE)
    with spans.recording(book):
        call = spans.begin("call", trace_id=TRACE)
        with spans.within(call):
            spans.begin("submission", trace_id=TRACE)
    assert [(span.parent, span.ends) for span in book.spans] == [(None, 0), (f"{0:016x}", 0)]
