"""Fixtures for every folder: a database for each test, and the stores on twin or PostgreSQL.

One server and one migrated template serve the whole run. A test that needs a database of its own
gets a copy of the template.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from runtime.garbage import freeze_and_tune
from storage.changes import PostgresChangeHistory
from storage.cutovers import PostgresCutovers
from storage.cycles import PostgresCycleStore
from storage.gateway import Database, connect, open_bridge
from storage.guardrails import PostgresGuardrailStore
from storage.indicators import PostgresIndicators
from storage.ingest import PostgresIngestStore
from storage.keys import PostgresKeys
from storage.leases import PostgresLeaseStore
from storage.legacy_syncs import PostgresLegacySyncs
from storage.live import PostgresLiveReads
from storage.migrations import migrate_blocking
from storage.notices import PostgresNotices
from storage.parity import PostgresParityReads, PostgresParityStore
from storage.quarantine import PostgresQuarantine
from storage.reads import PostgresReads
from storage.registry.store import PostgresRegistry
from storage.rollups import PostgresRollupStore
from storage.sessions import PostgresSessionStore
from storage.sign_ins import PostgresSignIns
from storage.upkeep import PostgresUpkeepStore
from tests.postgres import VersionAbsent, running_postgres
from tests.quick_routes import remember_builders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ports.changes import ChangeHistory
    from ports.cycles import CycleStore
    from ports.guardrails import GuardrailStore
    from ports.indicators import Indicators
    from ports.ingest import IngestStore
    from ports.keys import Keys
    from ports.leases import LeaseStore
    from ports.notices import Notices
    from ports.parity import ParityReads, ParityStore
    from ports.quarantine import Quarantine
    from ports.reads import Reads
    from ports.registry import Registry
    from ports.rollups import RollupStore
    from ports.sessions import SessionStore
    from ports.upkeep import UpkeepStore

TEMPLATE = "lastheard_template"
_numbers = itertools.count(1)


@dataclass
class Stores:
    """The stores for all protocols of ports/, on one database or on the twin."""

    ingest: IngestStore
    sessions: SessionStore
    cycles: CycleStore
    upkeep: UpkeepStore
    registry: Registry
    reads: Reads
    keys: Keys
    leases: LeaseStore
    notices: Notices
    changes: ChangeHistory
    quarantine: Quarantine
    indicators: Indicators
    rollups: RollupStore
    cutovers: PostgresCutovers
    legacy_syncs: PostgresLegacySyncs
    parity: ParityStore
    parity_reads: ParityReads
    guardrails: GuardrailStore
    sign_ins: PostgresSignIns
    live: PostgresLiveReads


def pytest_configure() -> None:
    remember_builders()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from looking at what all modules and tests are made of.

    Nothing of it becomes garbage, and one look at 10,000 tests takes half a second. What the tests
    themselves leave behind is still collected, with the thresholds of the service.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        freeze_and_tune()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs the server with `postgres`."""
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DSN of the run's PostgreSQL. Tests use `dsn` or `database`."""
    try:
        with running_postgres() as dsn:
            yield dsn
    except VersionAbsent as absent:
        pytest.skip(str(absent))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a migrated database that no session connects to."""
    execute(postgres_server, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}")
    migrate_blocking(database_dsn(postgres_server, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def empty_dsn(postgres_server: str) -> Iterator[str]:
    """A database of this test's own, without schema."""
    with _own_database(postgres_server, "") as dsn:
        yield dsn


@pytest.fixture
def dsn(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with database_copied(postgres_server, postgres_template) as dsn:
        yield dsn


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """The gateway to a migrated database of this test's own."""
    async with open_bridge():
        database = Database(dsn, pool_size=4)
        yield database
        await database.aclose()


@pytest.fixture
def postgres_stores(database: Database) -> Stores:
    return make_postgres_stores(database)


def make_postgres_stores(database: Database) -> Stores:
    return Stores(
        PostgresIngestStore(database),
        PostgresSessionStore(database),
        PostgresCycleStore(database),
        PostgresUpkeepStore(database),
        PostgresRegistry(database),
        PostgresReads(database),
        PostgresKeys(database),
        PostgresLeaseStore(database),
        PostgresNotices(database),
        PostgresChangeHistory(database),
        PostgresQuarantine(database),
        PostgresIndicators(database),
        PostgresRollupStore(database),
        PostgresCutovers(database),
        PostgresLegacySyncs(database),
        PostgresParityStore(database),
        PostgresParityReads(database),
        PostgresGuardrailStore(database),
        PostgresSignIns(database),
        PostgresLiveReads(database),
    )


def database_dsn(dsn: str, name: str) -> str:
    """Return the DSN of another database on the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def execute(dsn: str, *statements: str) -> None:
    """Run statements outside any trio loop, each in its own transaction."""

    async def run() -> None:
        connection = await connect(dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    _run_asyncio(run())


def fetch(dsn: str, statement: str) -> list[Any]:
    """Run one statement outside any trio loop. Returns its rows."""

    async def run() -> list[Any]:
        connection = await connect(dsn)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    rows: list[Any] = _run_asyncio(run())
    return rows


@contextmanager
def database_copied(server: str, template: str) -> Iterator[str]:
    """The DSN of a copy of this database, which exists for the length of the block."""
    # Copying files takes half as long as the default, which writes every page to the log.
    with _own_database(server, f"TEMPLATE {template} STRATEGY file_copy") as dsn:
        yield dsn


@contextmanager
def _own_database(server: str, options: str) -> Iterator[str]:
    name = f"lastheard_test_{next(_numbers)}"
    execute(
        server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} {options}"
    )
    yield database_dsn(server, name)
    execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _run_asyncio(coroutine: Any) -> Any:
    # Name the loop: trio-asyncio has replaced the policy that asyncio.run would use.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(coroutine)
