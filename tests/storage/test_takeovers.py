"""Three shards write to the same devices, own and lose them, and are declared dead at random.

Then a checker asks the history. This proves on the real engine that fence, claims and locks hold
together.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.model import CanonicalUpdate, Ownership, Policy, Reading, SessionRef
from domain.resource import Resource, workspace_of, workspace_resource
from ports.ingest import SessionFenced
from ports.sessions import VitalSigns
from storage.gateway import Database
from tests.conftest import Stores, make_postgres_stores
from tests.storage.fixtures import begin, connection, draft, submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import datetime

    from domain.model import Receipt, Submission
    from storage.gateway import Connection

pytestmark = pytest.mark.postgres

WORKSPACES = [f"fleet-{number}" for number in range(6)]
LEASES = [workspace_resource(name) for name in WORKSPACES]
BUSES = [f"bus-{number}" for number in range(20)]
SHARDS = ("shard-1", "shard-2", "shard-3")
DEATHS = 12
UNITS_BETWEEN_DEATHS = 12

# Every device: as many events as its version says, numbered from one without a gap.
BROKEN = """
    SELECT workspace_id, device_id
    FROM device_state s LEFT JOIN events e USING (workspace_id, device_id)
    GROUP BY workspace_id, device_id, s.version
    HAVING count(sequence) <> s.version OR coalesce(max(sequence), 0) <> s.version
        OR count(DISTINCT sequence) <> s.version
"""
TWO_OWNERS = """
    SELECT resource, token FROM readable_events WHERE token IS NOT NULL
    GROUP BY resource, token HAVING count(DISTINCT (shard_id, epoch)) > 1
"""
# A former owner's event after one of its successor's.
TOKEN_WENT_BACK = """
    SELECT 1
    FROM (SELECT token, lag(token) OVER (
                     PARTITION BY workspace_id, device_id ORDER BY sequence) AS before
          FROM events WHERE token IS NOT NULL) AS owned
    WHERE token < before
"""
AFTER_DEATH = "SELECT 1 FROM events WHERE shard_id = $1 AND epoch = $2 AND recorded_at > $3"


@dataclass
class History:
    """What the shards believe, to be compared with what is stored."""

    deaths: list[tuple[SessionRef, datetime]] = field(default_factory=list)
    units: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    tokens: list[tuple[Resource, int]] = field(default_factory=list)
    over: bool = False
    committed: trio.Event = field(default_factory=trio.Event)

    def add_unit(self, receipts: Sequence[Receipt]) -> None:
        self.units += 1
        self.outcomes.update(
            str(result.outcome) for receipt in receipts for result in receipt.results
        )
        self.committed.set()
        self.committed = trio.Event()

    async def wait_for_units(self, more: int) -> None:
        due = self.units + more
        while self.units < due:
            await self.committed.wait()


@dataclass
class Shard:
    """One writer: a database gateway, a session, and the leases it believes to hold."""

    stores: Stores
    database: Database
    session: SessionRef
    noon: datetime
    random: Random
    leases: dict[Resource, int] = field(default_factory=dict)
    unit: int = 0

    async def work(self, history: History) -> None:
        while not history.over:
            try:
                await self._round(history)
            except SessionFenced:
                start = await self.stores.sessions.begin_session(
                    self.session.shard_id, ttl_seconds=60, after=self.session
                )
                assert start is not None
                self.session, self.unit, self.leases = start.session, 0, {}

    async def _round(self, history: History) -> None:
        await self.stores.sessions.beat(self.session, ttl_seconds=60, statistics=VitalSigns())
        if self.random.random() < 0.3:
            await self._change_leases(history)
        batch = [*self._owned(), submission(*self._updates(self.random.choice(WORKSPACES)))]
        receipts = await self.stores.ingest.commit_unit(self.session, self.unit + 1, batch)
        self.unit += 1
        history.add_unit(receipts)

    async def _change_leases(self, history: History) -> None:
        leaving = {name: token for name, token in self.leases.items() if self.random.random() < 0.2}
        await self.stores.leases.release(self.session, leaving)
        claimed = await self.stores.leases.claim(self.session, self.random.sample(LEASES, 4))
        history.tokens += claimed.items()
        self.leases = {
            name: token for name, token in {**self.leases, **claimed}.items() if name not in leaving
        }

    def _owned(self) -> Iterator[Submission]:
        for resource, token in self.leases.items():
            ownership = Ownership(resource, *self.session, token)
            updates = self._updates(workspace_of(resource))
            yield replace(submission(*updates), ownership=ownership)

    def _updates(self, workspace_id: str) -> list[CanonicalUpdate]:
        buses = self.random.sample(BUSES, 8)
        return [self._update(workspace_id, bus, self.random.random() * 1000) for bus in buses]

    def _update(self, workspace_id: str, bus: str, seconds: float) -> CanonicalUpdate:
        at = self.noon + timedelta(seconds=seconds)
        signal = self.random.choice(("soc_percent", "speed_kmh", "odometer_km"))
        readings = (Reading(signal, float(self.random.randrange(100)), at),)
        return CanonicalUpdate(
            workspace_id, "harbour-live", bus, None, None, readings, at, "trace-1"
        )


async def kill_at_random(
    stores: Stores, database: Database, history: History, random: Random
) -> None:
    """Let a victim's heartbeat run out and declare it dead, between units, again and again.

    A victim that has just renewed its heartbeat survives. So the next one is always one of those
    that died least, and each dies in the end.
    """
    undertaker = (await begin(stores, "undertaker")).session
    while len(history.deaths) < DEATHS:
        died = Counter(dead.shard_id for dead, _ in history.deaths)
        victim = min(SHARDS, key=lambda name: (died[name], random.random()))
        await history.wait_for_units(random.randrange(UNITS_BETWEEN_DEATHS))
        assert await stores.sessions.beat(undertaker, ttl_seconds=60, statistics=VitalSigns())
        await database.run(partial(expire, shard_id=victim))
        for dead in await stores.leases.declare_dead(
            undertaker
        ):  # nobody, when it has just renewed
            history.deaths.append((dead, await database.run(read_clock)))
    history.over = True


async def expire(connection: Connection, shard_id: str) -> None:
    await connection.execute(
        "UPDATE heartbeats SET expires_at = clock_timestamp() WHERE shard_id = $1", shard_id
    )


async def read_clock(connection: Connection) -> datetime:
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


@pytest.fixture
async def shards(dsn: str, database: Database) -> AsyncIterator[list[Shard]]:
    """Each with a gateway of its own, within the bridge of `database`."""
    async with AsyncExitStack() as stack:
        shards = []
        for seed, name in enumerate(SHARDS):
            own = Database(dsn, pool_size=2, application_name=name)
            stack.push_async_callback(own.aclose)
            stores = make_postgres_stores(own)
            start = await begin(stores, name)
            noon = start.server_time - timedelta(minutes=20)
            shards.append(Shard(stores, own, start.session, noon, Random(seed)))
        yield shards


async def populate(stores: Stores) -> None:
    await stores.upkeep.ensure_partitions(days_ahead=1)
    for workspace_id in WORKSPACES:
        plain = {
            "name": workspace_id,
            "active": True,
            "poll_interval_seconds": 300,
            "policy": Policy(),
        }
        await stores.registry.put_workspace(workspace_id, **plain)  # type: ignore[arg-type]
        await stores.registry.put_provider(replace(connection(), workspace_id=workspace_id))
        await stores.registry.put_devices(workspace_id, [draft(bus) for bus in BUSES])


async def test_no_takeover_leaves_a_gap_a_double_or_a_late_write(
    shards: list[Shard], database: Database
) -> None:
    history, stores = History(), make_postgres_stores(database)
    await populate(stores)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for shard in shards:
                nursery.start_soon(shard.work, history)
            await kill_at_random(stores, database, history, Random(9))

    async def ask(statement: str, *args: Any) -> list[tuple[Any, ...]]:
        rows = await database.run(lambda connection: connection.fetch(statement, *args))
        return [tuple(row) for row in rows]

    assert await ask(BROKEN) == []
    assert await ask("SELECT count(*) FROM events") == [(history.outcomes["accepted"],)]
    assert [await ask(AFTER_DEATH, *dead, at) for dead, at in history.deaths] == [[]] * len(
        history.deaths
    )
    assert (await ask(TWO_OWNERS), await ask(TOKEN_WENT_BACK)) == ([], [])
    assert len(set(history.tokens)) == len(history.tokens)
    assert [shard.database.statistics().reruns for shard in shards] == [0, 0, 0]
    # It was a fight: every shard died and came back, and what was collected under a lease is among
    # what was accepted.
    assert {dead.shard_id for dead, _ in history.deaths} == set(SHARDS)
    assert await ask("SELECT 1 FROM events WHERE token > 1 LIMIT 1") == [(1,)]
