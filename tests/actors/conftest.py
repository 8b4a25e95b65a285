"""Fixtures of the actors' tests: the database, one shard, its stream, and a second workspace.

Tests that use it also ask for `autojump_clock` by name.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import settings
from structlog.testing import capture_logs

from actors.ingest import IngestActor
from ports.cycles import WantedCycle
from tests.actors.deferring import CYCLE_ID, KEY
from tests.actors.harness import LIVE, Harness, Shard, build_harness, polled
from tests.actors.scripted import ScriptedStreamer
from tests.actors.watching import Watched
from tests.actors.working import ISLAND

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    import trio

    from actors.fleet import FleetView

# Property tests judge rules, not the speed of the machine that happens to run them.
settings.register_profile("actors", deadline=None)
settings.load_profile("actors")


@pytest.fixture(autouse=True)
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every structlog event of the test. Rendering them would take longer than most tests do."""
    structlog.reset_defaults()  # an earlier test may have left another level
    with capture_logs() as captured:
        yield captured


@pytest.fixture
async def harness() -> Harness:
    return await build_harness()


@pytest.fixture
async def shard(harness: Harness) -> Shard:
    """A shard whose ingest actor does not run yet: `nursery.start_soon(shard.ingest.run)`."""
    return await harness.boot()


@pytest.fixture
def streamer(shard: Shard) -> ScriptedStreamer:
    shard.provider.streamers[LIVE] = ScriptedStreamer()
    return shard.provider.streamers[LIVE]


@pytest.fixture
async def harbour(shard: Shard, nursery: trio.Nursery) -> FleetView:
    """As `shard` sees it, with its ingest actor running."""
    nursery.start_soon(shard.ingest.run)
    return await shard.view()


@pytest.fixture
async def island(harness: Harness, shard: Shard, nursery: trio.Nursery) -> FleetView:
    """As `shard` sees it, with its ingest actor running."""
    await harness.add_workspace(ISLAND)
    await harness.add_connection(polled("ferries", ISLAND), "raft-1")
    nursery.start_soon(shard.ingest.run)
    return await shard.view(ISLAND)


@pytest.fixture
async def running(harness: Harness, shard: Shard, nursery: trio.Nursery) -> Shard:
    """The shard with its ingest actor running and a cycle of the harbour under way.

    The island has a bus-1, too.
    """
    await harness.add_workspace(ISLAND)
    await harness.add_connection(polled(workspace_id=ISLAND), "bus-1")
    assert (
        await harness.store.start_cycle(shard.session, WantedCycle(KEY, CYCLE_ID, "trace-c"))
    ).started
    nursery.start_soon(shard.ingest.run)
    return shard


@pytest.fixture
async def watched(harness: Harness, shard: Shard) -> Watched:
    """A store that the shard's ingest actor works through."""
    store = Watched(harness.store)
    shard.ingest = IngestActor(store, shard.current, random=Random(7))
    return store
