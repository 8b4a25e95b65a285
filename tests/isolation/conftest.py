"""The two filled databases of tests/isolation/fleets.py, once a run."""

from __future__ import annotations

import pytest

from tests.isolation.running import Places, fill_places


@pytest.fixture(scope="session")
def places(postgres_server: str, postgres_template: str) -> Places:
    return fill_places(postgres_server, postgres_template)
