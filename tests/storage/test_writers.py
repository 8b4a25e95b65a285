"""The writers of one ingest actor on PostgreSQL, whose connections are ended at random."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.ingest import IngestActor
from actors.session import CurrentSession
from domain.model import CanonicalUpdate, Policy, Reading
from ports.ingest import WRITERS
from runtime.reply import Reply
from storage.gateway import Database
from storage.ingest import PostgresIngestStore
from tests.conftest import make_postgres_stores
from tests.storage.fixtures import PROVIDER, begin, connection, draft, said, submission
from tests.storage.test_takeovers import BROKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from domain.model import Receipt, Submission
    from tests.conftest import Stores

pytestmark = pytest.mark.postgres

FLEETS = [f"fleet-{number}" for number in range(6)]
BUSES = [f"bus-{number}" for number in range(20)]
PART = 100
PARTS = 90
KILLS, LOOKS = 12, 15
NAME = "writers"
END_ONE = f"""
    SELECT count(pg_terminate_backend(pid)) FROM (
        SELECT pid FROM pg_stat_activity WHERE application_name = '{NAME}'
        ORDER BY random() LIMIT 1) AS one
"""
TOGETHER = f"""
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = '{NAME}' AND backend_xid IS NOT NULL
"""
TIMES_WENT_BACK = """
    SELECT count(*) FROM (SELECT received_at <= lag(received_at) OVER (
        PARTITION BY workspace_id, device_id ORDER BY sequence) AS is_wrong FROM events) AS found
    WHERE is_wrong
"""


@pytest.fixture
async def stores(database: Database) -> Stores:
    stores = make_postgres_stores(database)
    await stores.upkeep.ensure_partitions(days_ahead=1)
    for name in FLEETS:
        await stores.registry.put_workspace(
            name, name=name, active=True, poll_interval_seconds=300, policy=Policy()
        )
        await stores.registry.put_provider(replace(connection(), workspace_id=name))
        await stores.registry.put_devices(name, [draft(bus) for bus in BUSES])
    return stores


@pytest.fixture
async def own(dsn: str, database: Database) -> AsyncIterator[Database]:
    """The connections of the writers, within the bridge of `database`."""
    own = Database(dsn, pool_size=WRITERS, application_name=NAME, keeps_plans=True)
    yield own
    await own.aclose()


async def ask(database: Database, statement: str) -> Any:
    return await database.run(lambda connection: connection.fetchval(statement))


async def test_connections_that_end_lose_double_and_reorder_nothing(
    stores: Stores, own: Database, database: Database
) -> None:
    start, random, current = await begin(stores, "shard-1"), Random(4), CurrentSession()
    current.replace(start.session)
    noon = start.server_time - timedelta(minutes=20)
    ingest = IngestActor(PostgresIngestStore(own), current, random=random)
    replies, together = [], set[int]()

    def part(number: int) -> tuple[Submission, Reply[Receipt | None]]:
        at = noon + timedelta(seconds=number)
        fleet = random.choice(FLEETS)
        updates = [
            CanonicalUpdate(
                *(fleet, PROVIDER, random.choice(BUSES), None, None),
                (Reading("soc_percent", 50.0, at + timedelta(milliseconds=place)),),
                at + timedelta(milliseconds=place),
                "trace-1",
            )
            for place in range(PART)
        ]
        reply: Reply[Receipt | None] = Reply()
        return submission(*updates, resolve=reply.resolve), reply

    async def send() -> None:
        for number in range(PARTS):
            sent, reply = part(number)
            await ingest.submit(sent)
            replies.append(reply)
        ingest.close()

    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(ingest.run)
            for _ in range(KILLS):
                for _ in range(LOOKS):
                    together.add(await ask(database, TOGETHER))
                await ask(database, END_ONE)
                await trio.sleep(random.random() / 10)
    outcomes = [said(result) for reply in replies for result in (await reply.wait()).results]  # type: ignore[union-attr]
    assert set(outcomes) == {"accepted"}
    assert await ask(database, BROKEN) is None
    assert await ask(database, TIMES_WENT_BACK) == 0
    assert await ask(database, "SELECT count(*) FROM events") == PART * PARTS
    assert 2 in together
