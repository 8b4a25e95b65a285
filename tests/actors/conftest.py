"""What every test of the actors starts from. Tests that use it also ask for `autojump_clock` by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from structlog.testing import capture_logs

from tests.actors.cast import House, Shard, build_house

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

# Property tests judge rules, not the speed of the machine that happens to run them.
settings.register_profile("actors", deadline=None)
settings.load_profile("actors")


@pytest.fixture(autouse=True)
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every structlog event of the test, unrendered: rendering would take longer than most of these tests."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture
async def house() -> House:
    return await build_house()


@pytest.fixture
async def shard(house: House) -> Shard:
    """A shard whose ingest actor does not run yet: `nursery.start_soon(shard.ingest.run)`."""
    return await house.boot()
