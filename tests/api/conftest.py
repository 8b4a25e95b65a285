"""The harness: the API over the twin, populated with the cast of tests/api/harness.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage.memory import MemoryStore
from tests.api.harness import DatabaseClock, Harness

if TYPE_CHECKING:
    from pathlib import Path

    import trio


@pytest.fixture
async def harness(nursery: trio.Nursery, tmp_path: Path) -> Harness:
    clock = DatabaseClock()
    store = MemoryStore(clock)
    start = await store.begin_session("shard-1", ttl_seconds=15)
    assert start is not None
    harness = Harness(store, clock, start.session, tmp_path)
    await harness.populate(nursery)
    return harness
