"""Tests of this folder that ask for `world` run twice: on the twin and on PostgreSQL.

One database serves all of them. It is emptied before each, which is quicker than a copy.

Files whose ports PostgreSQL alone has override `place`, and ask for a `PostgresWorld`.
"""

from __future__ import annotations

import itertools
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from storage.gateway import Database, open_bridge
from storage.memory import MemoryStore
from storage.memory.tables import UnitTables
from storage.memory.unit import UnitStatements
from storage.queries import sql
from storage.unit.packing import pack
from storage.unit.steps import Statement
from storage.upkeep import PostgresUpkeepStore
from tests.conftest import database_copied, execute, make_postgres_stores
from tests.refilling import END_OTHERS, keep_rows
from tests.storage.contract.cast import SessionRow, TickingClock, populate, populate_postgres
from tests.storage.holding import holding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from storage.gateway import Connection
    from tests.storage.contract.cast import World


@pytest.fixture(scope="session")
def emptied(postgres_server: str, postgres_template: str) -> Iterator[tuple[str, str]]:
    """A migrated database with partitions, and SQL that brings it back to that."""
    with database_copied(postgres_server, postgres_template) as dsn:
        trio.run(_make_partitions, dsn)
        yield dsn, END_OTHERS + keep_rows(dsn)


async def _make_partitions(dsn: str) -> None:
    async with open_bridge(), aclosing(Database(dsn)) as database:
        await PostgresUpkeepStore(database).ensure_partitions(days_ahead=1)


@pytest.fixture
def dsn(emptied: tuple[str, str]) -> str:
    """A migrated database without rows. A test that changes tables needs `dsn` of a copy."""
    dsn, empty = emptied
    execute(dsn, empty)
    return dsn


@pytest.fixture(params=["twin", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest) -> str | None:
    """The DSN of a database of this test's own; None for the twin."""
    # Get the fixture by name, because the twin's half of the suite needs no server.
    return cast("str", request.getfixturevalue("dsn")) if request.param == "postgres" else None


@pytest.fixture
async def world(place: str | None) -> AsyncIterator[World]:
    if place is None:
        clock = TickingClock()
        store = MemoryStore(clock, days_ahead=None)
        yield await populate(store, InsideTwin(store, clock))
        return
    async with open_bridge():
        database = Database(place)
        yield await populate_postgres(make_postgres_stores(database), InsidePostgres(database))
        await database.aclose()


# How another transaction finds the row that it locks.
LOCKED = {
    "device_state": "workspace_id = $1 AND device_id = $2 FOR UPDATE",
    "snapshots": "workspace_id = $1 AND device_id = $2 FOR UPDATE",
    "connection_state": "workspace_id = $1 AND provider_id = $2 FOR UPDATE",
    "poll_cycles": "workspace_id = $1 AND cycle_id = $2 FOR UPDATE",
}


class InsideTwin:
    def __init__(self, store: MemoryStore, clock: TickingClock | None = None) -> None:
        self._store = store
        self._holders = itertools.count()
        self._tables = store.tables
        self._clock = clock

    async def edges(self) -> list[tuple[Any, ...]]:
        rows = sorted(self._tables.connection_events.items(), key=lambda item: item[0][1])
        return [(row.provider_id, row.kind, row.fault) for _, row in rows]

    async def device_edges(self) -> list[tuple[Any, ...]]:
        rows = sorted(self._tables.device_events.items(), key=lambda item: item[0][1])
        return [(row.device_id, row.kind, row.detail, row.at) for _, row in rows]

    async def quarantined(self) -> list[tuple[Any, ...]]:
        rows = sorted(self._tables.quarantine.items(), key=lambda item: item[0][1])
        return [(row.device_id, row.reason, row.sample) for _, row in rows]

    async def session_row(self, shard_id: str) -> SessionRow:
        session = self._tables.sessions.get((shard_id,))
        heartbeat = self._tables.heartbeats.get((shard_id,))
        assert session is not None
        assert heartbeat is not None
        beat = (heartbeat.beat_at, heartbeat.expires_at, heartbeat.draining)
        return SessionRow(session.state, session.ended_at, *beat)

    async def ask(self, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        engine = self._store._engine
        statements = UnitStatements(UnitTables(self._tables), engine.now, engine.locks)
        return list(statements.execute(Statement(statement, args)))

    async def let_pass(self, seconds: float) -> None:
        assert self._clock is not None
        self._clock.now += timedelta(seconds=seconds)

    async def set_clock_back(self, seconds: float) -> None:
        await self.let_pass(-seconds)

    @asynccontextmanager
    async def holding(self, table: str, workspace_id: str, name: str) -> AsyncIterator[None]:
        self._store.hold_row(table, workspace_id, name, holder=f"holder-{next(self._holders)}")
        yield
        self._store.release_rows()


class InsidePostgres:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def edges(self) -> list[tuple[Any, ...]]:
        return await self._fetch(
            "SELECT provider_id, kind, fault FROM connection_events ORDER BY event_id"
        )

    async def device_edges(self) -> list[tuple[Any, ...]]:
        return await self._fetch(
            "SELECT device_id, kind, detail, at FROM device_events ORDER BY event_id"
        )

    async def quarantined(self) -> list[tuple[Any, ...]]:
        return await self._fetch(
            "SELECT device_id, reason, sample FROM quarantine ORDER BY quarantine_id"
        )

    async def session_row(self, shard_id: str) -> SessionRow:
        (row,) = await self._fetch(
            "SELECT s.state, s.ended_at, h.beat_at, h.expires_at, h.draining"
            " FROM sessions s JOIN heartbeats h USING (shard_id) WHERE shard_id = $1",
            shard_id,
        )
        return SessionRow._make(row)

    async def ask(self, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        packed = pack(Statement(statement, args))  # as the unit's statements are sent
        return await self._fetch(sql(statement), *packed, readonly=False)

    async def let_pass(self, seconds: float) -> None:
        """Make stored times older, because the server's clock cannot be set."""
        columns = {
            "sessions": ("started_at", "ended_at"),
            "heartbeats": ("beat_at", "expires_at"),
            "leases": ("acquired_at", "released_at"),
            "workspaces": ("created_at",),
            "connection_events": ("at",),
            "device_events": ("at",),
            "quarantine": ("recorded_at",),
        }

        async def work(connection: Connection) -> None:
            for table, names in columns.items():
                changes = ", ".join(
                    f"{name} = {name} - make_interval(secs => {seconds})" for name in names
                )
                await connection.execute(f"UPDATE {table} SET {changes}")

        await self._database.run(work)

    async def set_clock_back(self, seconds: float) -> None:
        later = f"UPDATE events SET recorded_at = recorded_at + make_interval(secs => {seconds})"
        await self._database.run(lambda connection: connection.execute(later))

    @asynccontextmanager
    async def holding(self, table: str, workspace_id: str, name: str) -> AsyncIterator[None]:
        async with holding(
            self._database, f"SELECT 1 FROM {table} WHERE {LOCKED[table]}", workspace_id, name
        ):
            yield

    async def _fetch(
        self, statement: str, *args: Any, readonly: bool = True
    ) -> list[tuple[Any, ...]]:
        rows = await self._database.run(
            lambda connection: connection.fetch(statement, *args), readonly=readonly
        )
        return [tuple(row) for row in rows]
