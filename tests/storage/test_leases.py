"""Leases and sessions on PostgreSQL: what waits for what, and what a race must not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.resource import Resource, workspace_resource
from ports.sessions import VitalSigns
from storage.faults import DatabaseAway
from storage.gateway import Database
from storage.leases import PostgresLeaseStore
from storage.queries import bound, sql
from storage.timeouts import Timeouts
from tests.conftest import make_postgres_stores
from tests.storage.fixtures import WORKSPACE, Cast, begin, populate
from tests.storage.pauses import SlowCommit, transaction, wait_until_somebody_waits_for_a_lock

if TYPE_CHECKING:
    from domain.model import SessionRef

MANY = [workspace_resource(f"w-{number:04}") for number in range(1000)]
MAKE_MANY = """
    INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since)
    SELECT 'w-' || to_char(n, 'FM0000'), 'W', n + 1, now() FROM generate_series(0, 999) AS n
"""
EXPIRE = "UPDATE heartbeats SET expires_at = clock_timestamp() WHERE shard_id = 'shard-1'"


@pytest.fixture
async def cast(database: Database) -> Cast:
    return await populate(make_postgres_stores(database))


async def execute(database: Database, statement: str) -> None:
    await database.run(lambda connection: connection.execute(statement))


async def fetch(database: Database, statement: str) -> list[tuple[Any, ...]]:
    return [
        tuple(row) for row in await database.run(lambda connection: connection.fetch(statement))
    ]


UNIT = (sql("fence"), "shard-1", 1, 0, 7)


async def test_declaring_dead_waits_for_the_unit_in_flight(cast: Cast, database: Database) -> None:
    successor = (await begin(cast.stores, "shard-2")).session
    await execute(database, EXPIRE)
    dead: list[SessionRef] = []

    async def declare() -> None:
        dead.extend(await cast.stores.leases.declare_dead(successor))

    async with trio.open_nursery() as nursery, transaction(database, *UNIT):
        nursery.start_soon(declare)
        await wait_until_somebody_waits_for_a_lock(database)
        assert dead == []
    assert dead == [cast.session]
    assert await fetch(
        database,
        "SELECT state, w.last_unit FROM sessions JOIN session_writers w USING (shard_id)"
        " WHERE shard_id = 'shard-1' AND writer = 0",
    ) == [("dead", 7)]


async def test_who_renews_while_it_is_being_declared_dead_lives_on(
    cast: Cast, database: Database
) -> None:
    successor = (await begin(cast.stores, "shard-2")).session
    await execute(database, EXPIRE)
    async with trio.open_nursery() as nursery, transaction(database, *UNIT):
        nursery.start_soon(cast.stores.leases.declare_dead, successor)
        await wait_until_somebody_waits_for_a_lock(database)
        assert await cast.stores.sessions.beat(
            cast.session, ttl_seconds=15, statistics=VitalSigns()
        )
    assert (await cast.stores.leases.look(successor)).members == {"shard-1", "shard-2"}


async def test_a_renewal_that_waits_for_a_declaration_is_over(
    cast: Cast, database: Database, dsn: str
) -> None:
    successor, slow = (await begin(cast.stores, "shard-2")).session, SlowCommit(dsn)
    await execute(database, EXPIRE)
    renewed: list[object] = []

    async def renew() -> None:
        renewed.append(
            await cast.stores.sessions.beat(cast.session, ttl_seconds=15, statistics=VitalSigns())
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(PostgresLeaseStore(slow).declare_dead, successor)
        await slow.worked.wait()
        nursery.start_soon(renew)
        await wait_until_somebody_waits_for_a_lock(database)
        slow.commit()
    assert renewed == [None]
    assert (await cast.stores.leases.look(successor)).members == {"shard-2"}
    await slow.aclose()


async def test_a_declaration_that_waits_for_a_renewal_finds_it_alive(
    cast: Cast, database: Database
) -> None:
    successor = (await begin(cast.stores, "shard-2")).session
    await execute(database, EXPIRE)
    declared: list[list[SessionRef]] = []

    async def declare() -> None:
        declared.append(await cast.stores.leases.declare_dead(successor))

    async with (
        trio.open_nursery() as nursery,
        transaction(
            database,
            *bound(
                "beat",
                shard_id=cast.session.shard_id,
                epoch=cast.session.epoch,
                ttl_seconds=15.0,
                statistics="{}",
                max_seconds=30.0,
            ),
        ),
    ):
        nursery.start_soon(declare)
        await wait_until_somebody_waits_for_a_lock(database)
    assert declared == [[]]
    assert (
        await cast.stores.sessions.beat(cast.session, ttl_seconds=15, statistics=VitalSigns())
        is not None
    )


async def test_a_unit_that_hangs_delays_its_own_declaration_only(
    cast: Cast, database: Database, dsn: str
) -> None:
    successor = (await begin(cast.stores, "shard-2")).session
    await execute(database, EXPIRE)
    impatient = Database(dsn, pool_size=1, timeouts=Timeouts(lock=0.3))
    async with trio.open_nursery() as nursery:

        async def declare() -> None:
            with pytest.raises(DatabaseAway, match="55P03"):
                await PostgresLeaseStore(impatient).declare_dead(successor)

        async with transaction(database, *UNIT):
            nursery.start_soon(declare)
            await wait_until_somebody_waits_for_a_lock(database)
            # The successor's own units and its renewals go on meanwhile.
            assert await cast.stores.ingest.commit_unit(successor, 1, []) == []
            assert await cast.stores.sessions.beat(
                successor, ttl_seconds=15, statistics=VitalSigns()
            )
            while impatient.statistics().in_use:  # until it gave up
                await trio.lowlevel.checkpoint()
    await impatient.aclose()


async def test_a_claim_passes_by_what_somebody_else_is_changing(
    cast: Cast, database: Database
) -> None:
    await execute(database, MAKE_MANY)
    await cast.stores.leases.release(
        cast.session, await cast.stores.leases.claim(cast.session, MANY[:3])
    )
    async with transaction(
        database, f"UPDATE leases SET token = token WHERE resource = '{MANY[1]}'"
    ):
        with trio.fail_after(1):
            assert await cast.stores.leases.claim(cast.session, MANY[:3]) == {
                MANY[0]: 2,
                MANY[2]: 2,
            }


async def test_three_claimers_of_a_thousand_leases_take_none_twice(
    cast: Cast, database: Database
) -> None:
    """A lease that another claimer took after our statement began is no longer free.

    That its former owner is still gone changes nothing.
    """
    await execute(database, MAKE_MANY)
    claimers = [(await begin(cast.stores, f"claimer-{number}")).session for number in range(3)]
    for _ in range(8):
        taken: list[dict[Resource, int]] = [{} for _ in claimers]

        async def take(place: int, taken: list[dict[Resource, int]] = taken) -> None:
            taken[place] = dict(await cast.stores.leases.claim(claimers[place], MANY))

        async with trio.open_nursery() as nursery:
            for place in range(len(claimers)):
                nursery.start_soon(take, place)
        told = sorted(
            (resource, claimers[place].shard_id)
            for place, held in enumerate(taken)
            for resource in held
        )
        assert (
            await fetch(
                database, "SELECT resource, shard_id FROM leases WHERE epoch > 0 ORDER BY resource"
            )
            == told
        )
        for place, claimer in enumerate(claimers):
            await cast.stores.leases.release(claimer, taken[place])


async def test_a_takeover_of_a_thousand_leases_is_one_short_statement(
    cast: Cast, database: Database
) -> None:
    await execute(database, MAKE_MANY)
    leases, successor = cast.stores.leases, (await begin(cast.stores, "shard-2")).session
    assert len(await leases.claim(cast.session, MANY)) == 1000
    await execute(database, EXPIRE)
    with trio.fail_after(2):
        assert await leases.declare_dead(successor) == [cast.session]
        free = (await leases.look(successor)).free
        assert set(await leases.claim(successor, list(free))) == {
            workspace_resource(WORKSPACE),
            *MANY,
        }
