"""What the tests of the machinery share: captured log events, and seeds."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from typing import Any


@pytest.fixture
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every structlog event of the test, unrendered."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def random() -> Random:
    return Random(7)
