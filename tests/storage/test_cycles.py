"""Cycles on PostgreSQL itself: who looks for orphans finds what is being committed just then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from domain.cycles import CycleKey, CycleTrigger
from domain.schedule import cycle_id
from ports.cycles import WantedCycle
from storage.cycles import PostgresCycleStore
from tests.conftest import make_postgres_stores
from tests.storage.fixtures import WORKSPACE, Cast, begin, populate
from tests.storage.pauses import SlowCommit, wait_until_somebody_waits_for_a_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from storage.gateway import Database


@pytest.fixture
async def cast(database: Database) -> Cast:
    return await populate(make_postgres_stores(database))


@pytest.fixture
async def slow(dsn: str, database: Database) -> AsyncIterator[SlowCommit]:
    """Within the bridge of `database`."""
    slow = SlowCommit(dsn)
    yield slow
    await slow.aclose()


async def start(cast: Cast, slow: SlowCommit) -> None:
    key = CycleKey(WORKSPACE, cast.noon, CycleTrigger.SCHEDULE, 1)
    started = await PostgresCycleStore(slow).start_cycle(
        cast.session, WantedCycle(key, cycle_id(key), "trace-1")
    )
    assert started.started


async def take_request(cast: Cast, slow: SlowCommit) -> None:
    await cast.stores.registry.request_cycle(WORKSPACE, "trace-1")
    version = (await cast.stores.sessions.load_config_versions())[WORKSPACE]
    assert (
        await PostgresCycleStore(slow).take_requested_cycle(cast.session, WORKSPACE, version)
        is not None
    )


@pytest.mark.parametrize("begin_cycle", [start, take_request])
async def test_abandoning_orphans_waits_for_an_uncommitted_start(
    cast: Cast,
    database: Database,
    slow: SlowCommit,
    begin_cycle: Callable[[Cast, SlowCommit], Awaitable[None]],
) -> None:
    successor = (await begin(cast.stores, "shard-2")).session
    found: list[int] = []

    async def abandon() -> None:
        found.append(len(await cast.stores.cycles.abandon_orphans(successor, WORKSPACE)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin_cycle, cast, slow)
        await slow.worked.wait()
        nursery.start_soon(abandon)
        await wait_until_somebody_waits_for_a_lock(database)
        # The successor's units and the workspace's commands go on meanwhile.
        assert await cast.stores.ingest.commit_unit(successor, 1, []) == []
        assert await cast.stores.registry.request_cycle(WORKSPACE, "trace-2")
        slow.commit()
    assert found == [1]


async def test_a_start_that_is_not_committed_holds_up_no_other(
    cast: Cast, slow: SlowCommit, database: Database
) -> None:
    """It is left out of the bulk, and may have left an orphan."""
    store = PostgresCycleStore(database)
    key = CycleKey(WORKSPACE, cast.noon, CycleTrigger.SCHEDULE, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, cast, slow)
        await slow.worked.wait()
        with trio.fail_after(5):
            wanted = [WantedCycle(key, cycle_id(key), "trace-2")]
            assert await store.start_cycles(cast.session, wanted) == [None]
            assert (await store.look_back(WORKSPACE)).may_have_orphans
        slow.commit()
    assert [one and one.key.attempt for one in await store.start_cycles(cast.session, wanted)] == [
        2
    ]
