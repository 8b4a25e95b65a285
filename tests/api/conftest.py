"""The harness: the API over PostgreSQL, populated with the cast of tests/api/harness.py.

One database serves all tests of a run. It goes back to the cast before each of them.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from domain.model import SessionRef
from storage.gateway import open_bridge
from tests.api.harness import Harness
from tests.api.standing_time import FREEZE, DatabaseClock, FrozenDatabase
from tests.conftest import database_copied, execute, make_postgres_stores
from tests.refilling import END_OTHERS, keep_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

SESSION = SessionRef("shard-1", 1)


class Populated(NamedTuple):
    """A database with the cast, SQL that brings it back to the cast, and the keys' tokens."""

    dsn: str
    go_back: str
    tokens: Mapping[str, str]


@pytest.fixture(scope="session")
def populated(postgres_server: str, postgres_template: str) -> Iterator[Populated]:
    """The cast in a database of its own."""
    with database_copied(postgres_server, postgres_template) as dsn:
        execute(dsn, FREEZE)
        tokens = trio.run(_populate, dsn)
        yield Populated(dsn, END_OTHERS + keep_rows(dsn), tokens)


@pytest.fixture
async def frozen(populated: Populated) -> AsyncIterator[FrozenDatabase]:
    """The database, with nothing but the cast in it, at the start of the test's time."""
    async with open_bridge(), aclosing(FrozenDatabase(populated.dsn, DatabaseClock())) as database:
        await database.run(lambda connection: connection.execute(populated.go_back))
        yield database


@pytest.fixture
async def harness(
    frozen: FrozenDatabase, populated: Populated, tmp_path: Path
) -> AsyncIterator[Harness]:
    harness = Harness(make_postgres_stores(frozen), frozen.clock, SESSION, tmp_path)
    harness.tokens.update(populated.tokens)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(harness.ingest.run)
        yield harness
        nursery.cancel_scope.cancel()


async def _populate(dsn: str) -> Mapping[str, str]:
    """Store the cast, and return the tokens of its keys."""
    async with open_bridge(), aclosing(FrozenDatabase(dsn, DatabaseClock())) as database:
        stores = make_postgres_stores(database)
        start = await stores.sessions.begin_session(SESSION.shard_id, ttl_seconds=15)
        assert start is not None
        assert start.session == SESSION
        harness = Harness(stores, database.clock, SESSION, Path())
        await harness.populate()
        return harness.tokens
