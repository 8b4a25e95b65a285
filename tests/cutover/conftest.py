"""A depot that is moved from a legacy system, over a PostgreSQL whose time a test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.conftest import frozen, harness, populated  # noqa: F401 fixtures
from tests.cutover.depot import Depot

if TYPE_CHECKING:
    from tests.api.harness import Harness


@pytest.fixture
async def depot(harness: Harness) -> Depot:  # noqa: F811 the fixture
    """Twenty buses whose two connections report every slot, core read in shadow."""
    return await Depot.open(harness)
