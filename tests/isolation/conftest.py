"""The two filled databases of tests/isolation/fleets.py, once a run."""

from __future__ import annotations

import pytest

from tests.isolation.running import Databases, fill_databases


@pytest.fixture(scope="session")
def databases(postgres_server: str, postgres_template: str) -> Databases:
    return fill_databases(postgres_server, postgres_template)
