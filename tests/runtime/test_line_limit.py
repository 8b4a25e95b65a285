"""Lines that anybody can cause: one of a kind a minute, and none is lost uncounted."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog

from runtime.line_limit import EVERY_SECONDS, KIND, MAX_KINDS, LineLimit
from runtime.logs import configure_logging, get_logger, suppressed_lines


class _Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def limit(clock: _Clock) -> LineLimit:
    return LineLimit(clock.monotonic)


def passes(limit: LineLimit, event: str, **fields: Any) -> dict[str, Any] | None:
    try:
        return dict(limit(None, "info", {"event": event, **fields}))
    except structlog.DropEvent:
        return None


def test_one_line_of_a_kind_a_minute_says_how_many_there_were(
    limit: LineLimit, clock: _Clock
) -> None:
    first = [passes(limit, "a", without_key=True) for _ in range(100)]
    assert [line for line in first if line] == [{"event": "a", "without_key": True}]
    assert passes(limit, "b", without_key=True) is not None
    clock.now += EVERY_SECONDS
    assert passes(limit, "a", without_key=True) == {
        "event": "a",
        "without_key": True,
        "suppressed": 99,
    }
    assert limit.suppressed == 99


def test_lines_of_known_callers_all_pass_and_count_dropped_ones(limit: LineLimit) -> None:
    for _ in range(3):
        passes(limit, "a", without_key=True)
    assert [passes(limit, "a") for _ in range(2)] == [
        {"event": "a", "suppressed": 2},
        {"event": "a"},
    ]


def test_the_kinds_that_are_remembered_are_bounded(limit: LineLimit) -> None:
    passed = [passes(limit, f"kind-{number}", without_key=True) for number in range(10_000)]
    assert sum(line is not None for line in passed) == MAX_KINDS + 1  # and one for all others


def test_a_librarys_lines_are_of_one_kind_whatever_they_say() -> None:
    before = suppressed_lines()
    written = io.StringIO()
    configure_logging(format="json", stream=written)
    with structlog.contextvars.bound_contextvars(without_key=True):
        for number in range(50):
            logging.getLogger("somebody").error("bad request %s", number)
            get_logger("x").error("a_kind_of_this_test", number=number)
    events = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["bad request 0", "a_kind_of_this_test"]
    assert KIND not in events[0]
    assert suppressed_lines() - before == 98
