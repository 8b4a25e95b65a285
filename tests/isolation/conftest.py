"""The two filled databases of tests/isolation/fleets.py, made once a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.isolation.running import Databases, fill_databases
from tests.isolation.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def databases(postgres_server: str, postgres_template: str) -> Iterator[Databases]:
    with Standing().running() as standing:
        yield fill_databases(postgres_server, postgres_template, standing)
