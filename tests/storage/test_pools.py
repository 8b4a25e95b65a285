"""Connections apart by what they are for: busy ones of one purpose leave the others theirs."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trio

from storage.faults import DatabaseAway
from storage.gateway import open_bridge
from storage.pools import Pools

if TYPE_CHECKING:
    from storage.gateway import Connection, Database


def pools_on(dsn: str) -> Pools:
    return Pools(dsn, collecting=2, api=2, application_name="lastheard/pools")


async def say_hello(database: Database) -> str:
    answer: str = await database.run(lambda connection: connection.fetchval("SELECT 'hello'"))
    return answer


async def until_waiting(database: Database, calls: int) -> None:
    with trio.fail_after(5):
        while database.statistics().waiting != calls:  # noqa: ASYNC110 a limiter has no event
            await trio.sleep(0.01)


async def test_requests_that_hold_all_their_connections_leave_the_rest(dsn: str) -> None:
    async with open_bridge(), aclosing(pools_on(dsn)) as pools, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(
                pools.api.run, lambda connection: connection.execute("SELECT pg_sleep(4)")
            )
        await until_waiting(pools.api, 3)
        with trio.fail_after(1):
            said = [
                await say_hello(pool) for pool in (pools.session, pools.ingest, pools.collecting)
            ]
        assert said == ["hello"] * 3
        nursery.cancel_scope.cancel()


async def test_all_lanes_together_open_no_more_than_their_sizes(dsn: str) -> None:
    async with open_bridge(), aclosing(pools_on(dsn)) as pools:
        async with trio.open_nursery() as nursery:
            for pool in (pools.session, pools.ingest, pools.collecting, pools.api):
                for _ in range(4):
                    nursery.start_soon(
                        pool.run, lambda connection: connection.execute("SELECT pg_sleep(0.05)")
                    )
        statistics = pools.statistics()
        assert (statistics.pool_size, statistics.opened, statistics.calls) == (8, 8, 16)
        sizes = {name: pool.pool_size for name, pool in statistics.pools.items()}
        assert sizes == {"session": 1, "ingest": 3, "collecting": 2, "api": 2}


async def test_a_lost_server_costs_every_lane_its_idle_connections(dsn: str) -> None:
    """Otherwise a pool that only reads would go on asking a server that was demoted."""

    async def lose(connection: Connection) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async with open_bridge(), aclosing(pools_on(dsn)) as pools:
        await say_hello(pools.api)
        assert pools.api.statistics().idle == 1
        with pytest.raises(DatabaseAway):
            await pools.ingest.run(lose)
        assert pools.api.statistics().idle == 0
        assert await say_hello(pools.api) == "hello"
        assert pools.statistics().expired == 1
