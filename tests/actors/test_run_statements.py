"""What the pages of a run say about devices, and what a run that has ended proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.run_statements import RunStatements
from domain.model import Device, StatementKind
from ports.providers import BadRecord, Page
from tests.actors.instants import at
from tests.actors.polling import page
from tests.actors.scripted import sample

if TYPE_CHECKING:
    from typing import Any

NAMED, LEFT_OUT, ERROR = StatementKind.NAMED, StatementKind.LEFT_OUT, StatementKind.ERROR
NAMELESS = BadRecord(None, "vin is missing", b"")


def device(name: str) -> Device:
    return Device("harbour", name, "steady", f"x-{name}", f"v-{name}", name, at(-60))


DEVICES = {f"x-{name}": device(name) for name in ("bus-1", "bus-2")}


def run_of(*pages: Page) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Read the pages, one a second; return the statements and the kinds of the facts."""
    run = RunStatements(("harbour", "steady"), DEVICES, at(0))
    for second, one in enumerate(pages):
        run.read(one, at(second))
    last, end = pages[-1], at(len(pages))
    statements = run.end(last, end)
    told = [(one.kind, one.device_ids, one.begun_at, one.detail) for one in statements]
    return told, [fact.kind.value for fact in run.facts(last, end)]


def test_a_page_names_devices_with_or_without_news() -> None:
    one = page(sample("bus-1", 0, soc_percent=1), answered=frozenset(["x-bus-1", "x-bus-2"]))
    assert run_of(one) == (
        [(NAMED, ("bus-1", "bus-2"), at(0), None)],
        ["call_succeeded", "readable"],
    )


def test_an_error_is_a_statement_of_its_own_and_confirms_nothing() -> None:
    answered, errors = frozenset(["x-bus-1", "x-bus-2"]), {"x-bus-1": "504: upstream timeout"}
    told, _ = run_of(page(answered=answered, errors=errors, is_roster=True))
    assert told == [
        (ERROR, ("bus-1",), at(0), "504: upstream timeout"),
        (NAMED, ("bus-2",), at(0), None),
    ]


def test_a_roster_leaves_out_what_no_page_of_it_names() -> None:
    first = page(answered=frozenset(["x-bus-1", "x-stranger"]), next_page="two")
    told, facts = run_of(first, page(is_roster=True))
    assert told == [(NAMED, ("bus-1",), at(0), None), (LEFT_OUT, ("bus-2",), at(0), None)]
    assert facts == ["call_succeeded", "readable", "complete", "roster"]


def test_a_statement_has_the_begin_of_its_own_call() -> None:
    first = page(answered=frozenset(["x-bus-1"]), next_page="two")
    told, _ = run_of(first, page(answered=frozenset(["x-bus-2"])))
    assert told == [(NAMED, ("bus-1",), at(0), None), (NAMED, ("bus-2",), at(1), None)]


def test_the_last_page_that_mentions_a_device_counts() -> None:
    failed = page(errors={"x-bus-1": "504"}, next_page="two")
    told, _ = run_of(failed, page(answered=frozenset(["x-bus-1"])))
    assert told == [(NAMED, ("bus-1",), at(1), None)]


def test_a_complete_answer_without_news_says_nothing_of_devices() -> None:
    assert run_of(page(is_complete=True)) == ([], ["call_succeeded", "readable", "complete"])


def test_a_run_that_is_not_sure_to_have_read_all_proves_nothing() -> None:
    assert run_of(page()) == ([], ["call_succeeded", "readable"])


@pytest.mark.parametrize(
    ("malformed", "count"), [((NAMELESS,), 1), ((), 3)], ids=["a sample", "no sample"]
)
def test_nobody_is_left_out_beside_a_record_of_nobody(
    malformed: tuple[BadRecord, ...], count: int
) -> None:
    read = page(
        answered=frozenset(["x-bus-1"]), malformed=malformed, malformed_count=count, is_roster=True
    )
    assert [kind for kind, *_ in run_of(read)[0]] == [NAMED]


def test_a_run_of_which_nothing_can_be_read_answers_about_nobody() -> None:
    garbage = page(malformed=(NAMELESS,), malformed_count=9, is_complete=True, is_roster=True)
    assert run_of(garbage) == ([], ["call_succeeded", "unreadable"])


def test_a_bad_record_whose_device_can_be_told_costs_that_device() -> None:
    bad = BadRecord("x-bus-1", "createdDateTime has no zone", b"")
    answered = frozenset(["x-bus-1"])
    read = page(answered=answered, malformed=(bad,), malformed_count=1, is_complete=True)
    assert run_of(read)[1] == ["call_succeeded", "readable", "complete"]
