"""A scenario: work for one workspace, with the statements that it runs, and the table of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.isolation.fleets import Harness

Work = Callable[[Harness], Awaitable[Any]]


@dataclass(frozen=True)
class Scenario:
    name: str
    work: Work
    statements: frozenset[str]
    prepared: tuple[str, ...]


SCENARIOS: dict[str, Scenario] = {}


def drives(*statements: str, prepared: tuple[str, ...] = ()) -> Callable[[Work], Work]:
    """Make the function a scenario that runs these statements."""

    def remember(work: Work) -> Work:
        name = work.__name__
        SCENARIOS[name] = Scenario(name, work, frozenset(statements), prepared)
        return work

    return remember
