"""The house: the API over the twin, settled with the cast of tests/api/house.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage.memory import MemoryStore
from tests.api.house import DatabaseClock, House

if TYPE_CHECKING:
    from pathlib import Path

    import trio


@pytest.fixture
async def house(nursery: trio.Nursery, tmp_path: Path) -> House:
    clock = DatabaseClock()
    store = MemoryStore(clock)
    start = await store.begin_session("shard-1", ttl_seconds=15)
    assert start is not None
    house = House(store, clock, start.session, tmp_path)
    await house.settle(nursery)
    return house
