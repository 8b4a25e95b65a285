"""The house: the API over the twin, settled with the cast of tests/api/house.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.clock import VirtualClock
from storage.memory import MemoryStore
from tests.api.house import START, House

if TYPE_CHECKING:
    import trio
    from trio.testing import MockClock


@pytest.fixture
async def house(autojump_clock: MockClock, nursery: trio.Nursery) -> House:
    clock = VirtualClock(START)
    store = MemoryStore(clock)
    start = await store.begin_session("shard-1", ttl_seconds=15)
    house = House(store, clock, start.session)
    await house.settle(nursery)
    return house
