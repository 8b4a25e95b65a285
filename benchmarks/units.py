"""Updates a second from the mailbox to the commit, against the same units in a bare asyncpg loop.

The reference has nothing of ours in its way: no trio, no mailbox, no judging. It replays, on one asyncpg connection,
the very statements and parameters that the units of a recorded run sent, one transaction each. Verified afterwards:
every update is one event, and both databases hold the same snapshots.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import trio
from trio_asyncio import aio_as_trio  # type: ignore[import-untyped]

from actors.ingest import IngestActor
from actors.session import CurrentSession
from benchmarks.place import PROVIDER, WORKSPACE, configure, fetch
from benchmarks.stream_frames import NotVerified
from domain.model import CanonicalUpdate, Ownership, Reading, SessionRef, Submission
from runtime import garbage
from storage.gateway import Database, connect
from storage.ingest import PostgresIngestStore
from storage.queries import sql
from storage.registry import PostgresRegistry
from storage.sessions import PostgresSessionStore
from storage.unit import ingest_unit
from storage.upkeep import PostgresUpkeepStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.place import Place
    from storage.gateway import Connection
    from storage.unit_steps import Statement

SIGNALS = ("soc_percent", "odometer_km", "speed_kmh", "latitude_deg", "longitude_deg")
UPDATES_PER_SUBMISSION = 500
SUBMISSIONS_PER_UNIT = 2
SESSION = SessionRef("bench", 1)


class Load(NamedTuple):
    """So many units of 1,000 updates with 5 signals each, over so many devices; every update is news."""

    units: int
    devices: int
    began_at: datetime

    @property
    def updates(self) -> int:
        return self.units * SUBMISSIONS_PER_UNIT * UPDATES_PER_SUBMISSION

    def submissions(self) -> list[Submission]:
        size = UPDATES_PER_SUBMISSION
        return [
            Submission(
                origin="stream",
                trace_id=f"bench-{start}",
                updates=tuple(self._update(number) for number in range(start, start + size)),
                ownership=Ownership("workspace:bench", *SESSION, 1),
            )
            for start in range(0, self.updates, size)
        ]

    def _update(self, number: int) -> CanonicalUpdate:
        at = self.began_at + timedelta(milliseconds=number)
        readings = tuple(Reading(signal, (number + place) % 89 + 0.5, at) for place, signal in enumerate(SIGNALS))
        device_id = f"bus_{number % self.devices:04d}"
        return CanonicalUpdate(WORKSPACE, PROVIDER, device_id, device_id, None, readings, at, "bench")


async def prepare(place: Place, devices: int) -> str:
    """The name of a template: configured, with partitions and a live session, and nobody connected."""
    dsn = await place.new_database()
    async with aclosing(Database(dsn)) as database:
        await configure(PostgresRegistry(database), 1, [f"bus_{number:04d}" for number in range(devices)])
        await PostgresUpkeepStore(database).ensure_partitions(days_ahead=2)
        await PostgresSessionStore(database).begin_session(SESSION.shard_id, ttl_seconds=3600)
    return dsn.partition("?")[0].rsplit("/", 1)[1]


async def measure_ours(load: Load, dsn: str) -> float:
    """Updates a second through the mailbox, the ingest actor and the bridge, to the last receipt."""
    submissions = load.submissions()
    async with aclosing(Database(dsn)) as database:
        current = CurrentSession()
        current.replace(SESSION)
        ingest = IngestActor(PostgresIngestStore(database), current, random=Random(1))
        garbage.settle()
        began = perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingest.run)
            for submission in submissions:
                await ingest.submit(submission)
            ingest.close()
        seconds = perf_counter() - began
    await _verify(load, dsn)
    return load.updates / seconds


async def record(load: Load, dsn: str) -> list[list[Statement]]:
    """Run the units once, on a database of their own, and keep what they sent."""
    submissions = load.submissions()
    units = [submissions[at : at + SUBMISSIONS_PER_UNIT] for at in range(0, len(submissions), SUBMISSIONS_PER_UNIT)]

    async def run() -> list[list[Statement]]:
        connection = await connect(dsn)
        try:
            return [await _record_unit(connection, number, unit) for number, unit in enumerate(units, 1)]
        finally:
            await connection.close()

    recorded: list[list[Statement]] = await aio_as_trio(run)()
    return recorded


async def _record_unit(connection: Connection, number: int, submissions: Sequence[Submission]) -> list[Statement]:
    statements: list[Statement] = []
    async with connection.transaction():
        unit = ingest_unit(SESSION, number, submissions)
        rows: Any = None
        while True:
            try:
                statement = unit.send(rows)
            except StopIteration:
                return statements
            statements.append(statement)
            rows = await connection.fetch(sql(statement.name), *statement.args)


def measure_reference(load: Load, recorded: list[list[Statement]], dsn: str) -> float:
    """Updates a second of the bare loop. Blocking: it runs an asyncio loop of its own, in a thread."""

    async def run() -> float:
        connection = await connect(dsn)
        garbage.settle()
        began = perf_counter()
        for unit in recorded:
            async with connection.transaction():
                for statement in unit:
                    await connection.fetch(sql(statement.name), *statement.args)
        seconds = perf_counter() - began
        await connection.close()
        return seconds

    return load.updates / asyncio.run(run())


async def _verify(load: Load, dsn: str) -> None:
    ((events, versions),) = await fetch(
        dsn, "SELECT (SELECT count(*) FROM events), (SELECT sum(version)::bigint FROM device_state)"
    )
    if events != load.updates or versions != load.updates:
        raise NotVerified(f"{load.updates} updates became {events} events and {versions} versions")


async def verify_same(ours: str, reference: str) -> None:
    """Both ways must have left the same snapshots."""
    query = "SELECT device_id, version, document FROM snapshots ORDER BY device_id"
    if await fetch(ours, query) != await fetch(reference, query):
        raise NotVerified("the two databases hold different snapshots")


def new_load(units: int, devices: int) -> Load:
    """A load of the recent past."""
    return Load(units, devices, datetime(2026, 1, 1, tzinfo=UTC))
