"""The fence on PostgreSQL with the units of two writers in flight.

A takeover waits for both, and stops every later one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from ports.ingest import SessionFenced
from ports.sessions import VitalSigns
from storage.gateway import Database
from storage.queries import sql
from tests.conftest import make_postgres_stores
from tests.storage.fixtures import Cast, begin, populate
from tests.storage.pauses import transaction, wait_until_somebody_waits_for_a_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from domain.model import SessionRef
    from storage.gateway import Connection

    TakeOver = Callable[[Cast, Database], Awaitable[list[SessionRef]]]

pytestmark = pytest.mark.postgres

UNITS = (("shard-1", 1, 0, 7), ("shard-1", 1, 1, 9))
EXPIRE = "UPDATE heartbeats SET expires_at = clock_timestamp() WHERE shard_id = 'shard-1'"
OVERLAP_SECONDS = 0.15  # between the starts of two units, each of twice that
# The fence of a release before migration 0028.
FORMER_UNIT = "UPDATE sessions SET last_unit = 9 WHERE shard_id = 'shard-1' AND state = 'live'"


@pytest.fixture
async def database(dsn: str, database: Database) -> AsyncIterator[Database]:
    """Enough connections for two units, a takeover and looks at them."""
    roomy = Database(dsn, pool_size=6)
    yield roomy
    await roomy.aclose()


@pytest.fixture
async def cast(database: Database) -> Cast:
    return await populate(make_postgres_stores(database))


async def declare_dead(cast: Cast, database: Database) -> list[SessionRef]:
    successor = (await begin(cast.stores, "shard-2")).session
    await database.run(lambda connection: connection.execute(EXPIRE))
    return await cast.stores.leases.declare_dead(successor)


async def begin_anew(cast: Cast, database: Database) -> list[SessionRef]:
    await begin(cast.stores, "shard-1")
    return [cast.session]


TAKEOVERS = pytest.mark.parametrize("take_over", [declare_dead, begin_anew])


@asynccontextmanager
async def both_in_flight(database: Database) -> AsyncIterator[list[trio.Event]]:
    """Two units past the fence; setting the event of one commits it."""
    ends = [trio.Event(), trio.Event()]

    async def hold(
        number: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with transaction(database, sql("fence"), *UNITS[number]):
            task_status.started()
            await ends[number].wait()

    async with trio.open_nursery() as nursery:
        for number in (0, 1):
            with trio.fail_after(2):  # the second does not wait for the first
                await nursery.start(hold, number)
        yield ends
        for end in ends:
            end.set()


@TAKEOVERS
@pytest.mark.parametrize("first", [0, 1])
async def test_a_takeover_waits_for_both_units_in_flight(
    cast: Cast, database: Database, take_over: TakeOver, first: int
) -> None:
    over = trio.Event()

    async def run() -> None:
        assert await take_over(cast, database) == [cast.session]
        over.set()

    async with trio.open_nursery() as nursery, both_in_flight(database) as ends:
        nursery.start_soon(run)
        await wait_until_somebody_waits_for_a_lock(database)
        ends[first].set()
        await trio.sleep(0.2)
        await wait_until_somebody_waits_for_a_lock(database)
        assert not over.is_set()
        ends[1 - first].set()
        with trio.fail_after(2):
            await over.wait()
    for writer in (0, 1):
        with pytest.raises(SessionFenced):
            await cast.stores.ingest.commit_unit(cast.session, 10, [], None, writer)


@TAKEOVERS
async def test_a_takeover_gets_its_turn_though_units_always_overlap(
    cast: Cast, database: Database, take_over: TakeOver
) -> None:
    """Share locks alone would let each unit in past the takeover that waits for the other one."""
    fenced: list[int] = []

    async def unit(connection: Connection, writer: int, number: int) -> bool:
        row = await connection.fetchrow(sql("fence"), "shard-1", 1, writer, number)
        await connection.execute("SELECT pg_sleep($1)", 2 * OVERLAP_SECONDS)
        return row is not None

    async def write(writer: int) -> None:
        await trio.sleep(writer * OVERLAP_SECONDS)
        for number in range(1, 100):
            if not await database.run(partial(unit, writer=writer, number=number)):
                fenced.append(writer)
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, 0)
        nursery.start_soon(write, 1)
        await trio.sleep(4 * OVERLAP_SECONDS)
        with trio.fail_after(20 * OVERLAP_SECONDS):
            await take_over(cast, database)
    assert sorted(fenced) == [0, 1]


@pytest.mark.parametrize("change", ["state = 'dead'", "epoch = epoch + 1"])
async def test_a_unit_that_waits_for_a_takeover_writes_nothing(
    cast: Cast, database: Database, change: str
) -> None:
    """Its statement began before the takeover's commit: PostgreSQL checks the new row."""
    results: list[object] = []

    async def unit(writer: int) -> None:
        with pytest.raises(SessionFenced) as fenced:
            await cast.stores.ingest.commit_unit(cast.session, 11, [], None, writer)
        results.append(fenced.type)

    dying = f"UPDATE sessions SET {change} WHERE shard_id = 'shard-1'"
    async with trio.open_nursery() as nursery, transaction(database, dying):
        nursery.start_soon(unit, 0)
        nursery.start_soon(unit, 1)
        await wait_until_somebody_waits_for_a_lock(database)
    assert results == [SessionFenced, SessionFenced]


async def test_a_heartbeat_waits_for_no_unit(cast: Cast, database: Database) -> None:
    async with both_in_flight(database):
        with trio.fail_after(1):
            assert await cast.stores.sessions.beat(
                cast.session, ttl_seconds=15, statistics=VitalSigns()
            )


async def test_a_takeover_waits_for_a_unit_of_a_former_release(
    cast: Cast, database: Database
) -> None:
    order = []
    async with trio.open_nursery() as nursery, transaction(database, FORMER_UNIT):

        async def run() -> None:
            await declare_dead(cast, database)
            order.append("takeover")

        nursery.start_soon(run)
        await wait_until_somebody_waits_for_a_lock(database)
        order.append("unit")
    assert order == ["unit", "takeover"]


async def test_a_unit_in_doubt_is_asked_for_beside_another_in_flight(
    cast: Cast, database: Database
) -> None:
    """The answer waits for the unit in doubt, and for no other."""
    store = cast.stores.ingest
    told: list[int | None] = []

    answered = trio.Event()

    async def ask(writer: int) -> None:
        told.append(await store.load_last_unit(cast.session, writer))
        answered.set()

    async with trio.open_nursery() as nursery, both_in_flight(database) as ends:
        nursery.start_soon(ask, 1)
        await wait_until_somebody_waits_for_a_lock(database)
        assert told == []
        ends[1].set()
        with trio.fail_after(2):
            await answered.wait()
        assert told == [9]
    assert await store.load_last_unit(cast.session, 0) == 7


async def test_the_last_unit_of_a_shard_is_that_of_any_writer(cast: Cast) -> None:
    for writer, number in ((0, 1), (1, 2)):
        await cast.stores.ingest.commit_unit(cast.session, number, [], None, writer)
    (shard,) = await cast.stores.reads.load_shards()
    assert shard["last_unit"] == 2
