"""A unit takes submissions of many traces: how each of them leads to its commit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actors.poison import cut_at
from actors.submission_spans import begin_submission, end_submission, unit_of
from domain.model import Outcome, Receipt, Result, Submission
from runtime import spans
from runtime.spans import MAX_LINKS
from tests.span_book import Book

AT = datetime(2026, 3, 1, tzinfo=UTC)


def submit(book: Book, count: int, *, traces: str = "trace") -> list[Submission]:
    made = [Submission(origin="http", trace_id=f"{traces}-{number}") for number in range(count)]
    for submission in made:
        begin_submission(submission)
    return made


def test_a_unit_and_its_submissions_link_to_each_other() -> None:
    book = Book()
    with spans.recording(book):
        batch = submit(book, 3)
        with unit_of(batch):
            pass
    (unit,) = book.named("unit")
    submissions, commits = book.named("submission"), book.named("commit")
    assert unit.links == tuple(span.place for span in submissions)
    assert [commit.parent for commit in commits] == [span.place.span_id for span in submissions]
    assert [commit.place.trace_id for commit in commits] == ["trace-0", "trace-1", "trace-2"]
    assert {commit.links for commit in commits} == {(unit.place,)}
    assert [span.ends for span in (*commits, unit)] == [1] * 4


def test_a_large_unit_has_a_bounded_number_of_links_and_commits() -> None:
    book = Book()
    with spans.recording(book), unit_of(submit(book, MAX_LINKS + 50)):
        pass
    assert len(book.named("unit")[0].links) == len(book.named("commit")) == MAX_LINKS


def test_a_unit_without_a_recorded_submission_is_not_recorded() -> None:
    book = Book("another trace")
    with spans.recording(book), unit_of(submit(book, 2)):
        pass
    assert book.spans == []


def test_one_recorded_submission_makes_its_unit_recorded() -> None:
    book = Book("trace-1")
    with spans.recording(book), unit_of(submit(book, 3)):
        pass
    assert [span.name for span in book.spans] == ["submission", "unit", "commit"]
    assert book.named("unit")[0].attributes["lastheard.submissions"] == 3


def test_a_unit_that_fails_marks_its_commits_as_failed() -> None:
    book = Book()
    with pytest.raises(KeyError), spans.recording(book), unit_of(submit(book, 1)):
        raise KeyError
    assert [span.failed for span in book.spans] == [None, "KeyError", "KeyError"]


def test_a_submission_ends_with_its_counts_or_without_a_commit() -> None:
    book = Book()
    with spans.recording(book):
        committed, given_up = submit(book, 2)
        results = (Result(Outcome.ACCEPTED), Result(Outcome.DUPLICATE))
        end_submission(committed, Receipt(1, AT, results))
        end_submission(given_up, None)
    first, second = book.spans
    assert first.attributes["lastheard.accepted"] == 1
    assert first.attributes["lastheard.refused"] == 1
    assert (first.failed, second.failed) == (None, "not_committed")


def test_the_rest_of_a_cut_submission_ends_its_span() -> None:
    book = Book()
    with spans.recording(book):
        (whole,) = submit(book, 1)
    first, rest = cut_at(whole, Receipt(1, AT, ()))
    assert (first.span, rest.span) == (None, whole.span)


def test_without_a_recorder_a_submission_has_no_span() -> None:
    (submission,) = submit(Book(), 1)
    with unit_of([submission]):
        end_submission(submission, None)
    assert submission.span is None
