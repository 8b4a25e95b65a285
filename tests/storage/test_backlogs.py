"""Edges of backlogs: data began to wait for long to be stored, or waits so no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ports.sessions import VitalSigns
from ports.upkeep import Retention
from tests.storage.fixtures import begin

if TYPE_CHECKING:
    from domain.model import SessionRef
    from storage.gateway import Connection, Database
    from tests.conftest import Stores


class Backlogs:
    def __init__(self, database: Database, stores: Stores) -> None:
        self.database = database
        self.stores = stores

    async def beat(self, session: SessionRef, shard: float = 0.0, **deferred: float) -> None:
        signs = VitalSigns(oldest_waiting_seconds=shard, deferred_seconds=deferred)
        sessions = self.stores.sessions
        assert await sessions.beat(session, ttl_seconds=15, statistics=signs) is not None

    async def rows(self) -> list[tuple[Any, ...]]:
        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            query = "SELECT workspace_id, kind, waiting_seconds FROM backlog_events"
            return [tuple(row) for row in await connection.fetch(f"{query} ORDER BY event_id")]

        return await self.database.run(work)


@pytest.fixture
def backlogs(database: Database, postgres_stores: Stores) -> Backlogs:
    return Backlogs(database, postgres_stores)


async def test_a_backlog_of_the_shard_has_a_begin_and_an_end(backlogs: Backlogs) -> None:
    session = (await begin(backlogs.stores, "shard-1")).session
    for seconds in (0.0, 30.0, 30.5, 40.0, 90.0, 30.0, 0.0):
        await backlogs.beat(session, seconds)
    assert await backlogs.rows() == [
        (None, "backlog_begun", 30.5),
        (None, "backlog_ended", 30.0),
    ]


async def test_a_backlog_of_one_workspace_is_told_by_its_name(backlogs: Backlogs) -> None:
    session = (await begin(backlogs.stores, "shard-1")).session
    for deferred in ({}, {"harbour": 10.0}, {"harbour": 35.0, "b": 1.0}, {"harbour": 50.0}, {}):
        await backlogs.beat(session, **deferred)
    assert await backlogs.rows() == [
        ("harbour", "backlog_begun", 35.0),
        ("harbour", "backlog_ended", 0.0),
    ]


async def test_a_shard_that_works_writes_no_row(backlogs: Backlogs) -> None:
    session = (await begin(backlogs.stores, "shard-1")).session
    for number in range(30):
        await backlogs.beat(session, number % 3, harbour=float(number % 5))
    await backlogs.stores.sessions.end_session(session)
    assert await backlogs.rows() == []


@pytest.mark.parametrize("how", ["ended", "followed", "declared dead"])
async def test_a_backlog_ends_with_its_session(backlogs: Backlogs, how: str) -> None:
    stores = backlogs.stores
    session = (await begin(stores, "shard-1")).session
    await backlogs.beat(session, 40.0)
    if how == "ended":
        await stores.sessions.end_session(session)
    elif how == "followed":
        await begin(stores, "shard-1")
    else:
        other = (await begin(stores, "shard-2")).session
        expired = "UPDATE heartbeats SET expires_at = now() WHERE shard_id = 'shard-1'"
        await backlogs.database.run(lambda connection: connection.execute(expired))
        assert await stores.leases.declare_dead(other) == [session]
    assert await backlogs.rows() == [(None, "backlog_begun", 40.0), (None, "backlog_ended", None)]


async def test_the_newest_old_edge_of_a_backlog_is_kept(backlogs: Backlogs) -> None:
    session = (await begin(backlogs.stores, "shard-1")).session
    for seconds in (40.0, 0.0, 50.0):
        await backlogs.beat(session, seconds, harbour=seconds)
    old = "UPDATE backlog_events SET at = at - interval '91 days'"
    await backlogs.database.run(lambda connection: connection.execute(old))
    dropped = await backlogs.stores.upkeep.drop_expired(Retention())
    assert dropped["backlog_events"] == 4
    assert sorted(await backlogs.rows(), key=str) == [
        ("harbour", "backlog_begun", 50.0),
        (None, "backlog_begun", 50.0),
    ]
