"""Servers that are taken or refused: supported releases, releases too old, and poolers."""

from __future__ import annotations

from contextlib import aclosing
from urllib.parse import urlsplit

import pytest
import trio

from storage.faults import DatabaseRefused
from storage.gateway import Database, open_bridge
from storage.migrations import migrate
from tests.conftest import execute
from tests.postgres import MAJOR
from tests.storage.poolers import (
    PGBOUNCER,
    dsn_at,
    forgetful,
    listening,
    pgbouncer,
    refusing,
    welcoming,
)

UNSUPPORTED = "unsupported startup parameter: statement_timeout"


@pytest.fixture
def bounded_dsn(dsn: str) -> str:
    """Give the timeouts to the role, as docs/operations.md says for a database behind a pooler."""
    name = urlsplit(dsn).path[1:]
    bounds = (
        "statement_timeout = '5s'",
        "lock_timeout = '2s'",
        "idle_in_transaction_session_timeout = '5s'",
    )
    execute(dsn, *(f"ALTER DATABASE {name} SET {bound}" for bound in bounds))
    return dsn


async def ask(database: Database, question: str) -> str:
    """In a transaction, as everything that Lastheard asks."""
    answer: str = await database.run(lambda connection: connection.fetchval(question))
    return answer


async def refusal_of(dsn: str) -> DatabaseRefused:
    """How a Database on this DSN refuses to work."""
    async with aclosing(Database(dsn, pool_size=1)) as database:
        with pytest.raises(DatabaseRefused) as refused:
            await ask(database, "SELECT 1")
        assert str(database.statistics().last_error).endswith(str(refused.value))
    return refused.value


# --- Versions


async def test_the_server_is_of_the_version_that_the_run_asked_for(database: Database) -> None:
    version = await ask(database, "SHOW server_version")
    assert int(version.partition(".")[0]) == MAJOR


async def test_statistics_show_the_version_of_the_server(database: Database) -> None:
    assert database.statistics().server_version is None
    version = await ask(database, "SHOW server_version")
    assert database.statistics().server_version == version.partition(" ")[0]


async def test_a_transaction_has_a_timeout_where_the_server_knows_one(database: Database) -> None:
    bound = await ask(database, "SELECT current_setting('transaction_timeout', true)")
    assert bound == ("10s" if MAJOR >= 17 else None)


async def test_a_server_older_than_15_is_refused_in_one_sentence() -> None:
    async with open_bridge(), listening(welcoming("14.12")) as port:
        refused = await refusal_of(dsn_at(port))
    assert (
        str(refused) == "0A000: PostgreSQL 14.12 is too old: Lastheard needs PostgreSQL 15 or later"
    )
    assert refused.permanent


async def test_a_migration_refuses_a_server_older_than_15() -> None:
    async with listening(welcoming("14.12")) as port:
        with pytest.raises(DatabaseRefused, match=r"PostgreSQL 14\.12 is too old"):
            await migrate(dsn_at(port))


# --- Poolers


async def test_a_pooler_that_refuses_our_settings_is_refused_for_good() -> None:
    async with open_bridge(), listening(refusing("08P01", UNSUPPORTED)) as port:
        refused = await refusal_of(dsn_at(port))
    assert refused.permanent
    assert f"{UNSUPPORTED}. A connection pooler stands before PostgreSQL" in str(refused)
    assert "Connect to PostgreSQL directly, or pool by the session" in str(refused)


async def test_a_pooler_that_drops_our_timeouts_is_refused_for_good(dsn: str) -> None:
    database = urlsplit(dsn).path[1:]
    async with open_bridge(), listening(forgetful(dsn)) as port:
        refused = await refusal_of(dsn_at(port, database))
    assert refused.permanent
    assert "statement_timeout is 0" in str(refused)
    assert "a connection pooler dropped them. Connect to PostgreSQL directly" in str(refused)


async def test_a_pooler_is_taken_when_the_role_brings_the_timeouts(bounded_dsn: str) -> None:
    database = urlsplit(bounded_dsn).path[1:]
    async with (
        open_bridge(),
        listening(forgetful(bounded_dsn)) as port,
        aclosing(Database(dsn_at(port, database))) as pooled,
    ):
        assert await ask(pooled, "SHOW lock_timeout") == "2s"


@pytest.mark.parametrize("sqlstate", ["26000", "42P05"])
async def test_lost_prepared_statements_are_blamed_on_the_pooler(
    database: Database, sqlstate: str
) -> None:
    lost = (
        f"DO $$ BEGIN RAISE EXCEPTION 'prepared statement s1' USING ERRCODE = '{sqlstate}'; END $$"
    )
    with pytest.raises(
        DatabaseRefused, match=r"hands connections out by the transaction.*PgBouncer"
    ) as refused:
        await database.run(lambda connection: connection.execute(lost))
    assert refused.value.permanent


# --- PgBouncer itself


needs_pgbouncer = pytest.mark.skipif(
    PGBOUNCER is None, reason="no pgbouncer here (Debian: apt-get install pgbouncer)"
)
IGNORING = "jit,plan_cache_mode,statement_timeout,lock_timeout,idle_in_transaction_session_timeout,\
tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count"


@needs_pgbouncer
async def test_pgbouncer_as_installed_is_refused_for_good(dsn: str) -> None:
    async with open_bridge(), pgbouncer(dsn) as pooled:
        refused = await refusal_of(pooled)
    assert refused.permanent
    assert "unsupported startup parameter" in str(refused)


@needs_pgbouncer
async def test_pgbouncer_that_ignores_our_settings_is_refused_for_good(dsn: str) -> None:
    async with open_bridge(), pgbouncer(dsn, ignore_startup_parameters=IGNORING) as pooled:
        refused = await refusal_of(pooled)
    assert refused.permanent
    assert "lock_timeout is 0" in str(refused)


@needs_pgbouncer
async def test_pgbouncer_by_session_works_if_the_role_has_timeouts(
    bounded_dsn: str,
) -> None:
    async with (
        open_bridge(),
        pgbouncer(bounded_dsn, ignore_startup_parameters=IGNORING, pool_mode="session") as pooled,
        aclosing(Database(pooled, pool_size=2)) as database,
    ):
        assert [await ask(database, "SELECT count(*)::text FROM workspaces") for _ in range(3)] == [
            "0"
        ] * 3


@needs_pgbouncer
async def test_pgbouncer_by_the_transaction_is_refused_for_good(bounded_dsn: str) -> None:
    """It is noticed when a session is served by a server connection without its statements."""
    by_transaction = {"ignore_startup_parameters": IGNORING, "pool_mode": "transaction"}
    async with (
        open_bridge(),
        pgbouncer(bounded_dsn, **by_transaction) as pooled,
        aclosing(Database(pooled, pool_size=1)) as database,
        aclosing(Database(pooled, pool_size=1)) as other,
        trio.open_nursery() as nursery,
    ):
        assert await ask(database, "SELECT 'one'") == "one"
        nursery.start_soon(
            ask, other, "SELECT pg_sleep(30)"
        )  # on the connection that was just given back
        await until_asleep(bounded_dsn)
        with pytest.raises(
            DatabaseRefused, match=r"hands connections out by the transaction"
        ) as refused:
            await ask(database, "SELECT 'one'")
        nursery.cancel_scope.cancel()
    assert refused.value.permanent


async def until_asleep(dsn: str) -> None:
    asleep = (
        "SELECT count(*)::text FROM pg_stat_activity "
        "WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(%'"
    )
    async with aclosing(Database(dsn, pool_size=1)) as direct:
        with trio.fail_after(5):
            while await ask(direct, asleep) != "1":  # noqa: ASYNC110 the server offers no event
                await trio.sleep(0.02)
