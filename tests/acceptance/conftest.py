"""The service's log of a scenario, which fails if it has an error that was not expected."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import structlog

from runtime.logs import configure_logging
from tests.log_catalogue import faults_of_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# Both assert for the tests, and should show the values as well as the tests do.
pytest.register_assert_rewrite("tests.acceptance.harness", "tests.acceptance.shard")


class Logbook:
    """Every line of the service's log, as an operator would collect it."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.expected_errors: set[str] = set()  # events that this scenario causes

    def open(self) -> None:
        configure_logging(format="json", level="debug", stream=self._stream)

    def lines(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the lines that have all of these fields."""
        lines = [orjson.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if fields.items() <= line.items()]

    def unexpected_errors(self) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines()
            if line["level"] in ("error", "critical") and line["event"] not in self.expected_errors
        ]


@pytest.fixture(autouse=True)
def logbook() -> Iterator[Logbook]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    book = Logbook()
    book.open()
    yield book
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    assert book.unexpected_errors() == []
    assert {fault for line in book.lines() for fault in faults_of_line(line)} == set()
