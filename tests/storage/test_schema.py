"""schema.sql, which people read, and the migrations, which run, make the same database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import ProgrammingError

import storage.migrations
from domain.model import SessionRef
from domain.resource import workspace_resource
from storage.gateway import Database, open_bridge
from storage.ingest import PostgresIngestStore
from storage.leases import PostgresLeaseStore
from storage.migrations import (
    EXPECTED_VERSION,
    SchemaMismatch,
    SchemaVersion,
    check_schema,
    migrate,
    migrate_blocking,
)
from tests.conftest import execute, fetch

if TYPE_CHECKING:
    from storage.gateway import Connection

SCHEMA = Path(storage.migrations.__file__).parents[1] / "schema.sql"

# Everything of a catalogue that a difference could hide in, as comparable text.
CATALOGUE = """
SELECT 'column' AS kind, format('%s.%s %s %s default %s identity %s', c.relname, a.attname,
       format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
       a.attidentity) AS what
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
      AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'table', format('%s %s %s %s', relname, relkind, reloptions, pg_get_partkeydef(oid))
FROM pg_class WHERE relnamespace = 'public'::regnamespace
ORDER BY 1, 2
"""


def catalogue(dsn: str) -> list[str]:
    rows = [f"{row['kind']}: {row['what']}" for row in fetch(dsn, CATALOGUE)]
    return [row for row in rows if "alembic_version" not in row]


async def versions(dsn: str) -> SchemaVersion:
    async with open_bridge():
        database = Database(dsn)
        try:
            return await check_schema(database)
        finally:
            await database.aclose()


def test_schema_sql_and_the_migrations_make_the_same_database(empty_dsn: str, dsn: str) -> None:
    execute(empty_dsn, SCHEMA.read_text())
    assert catalogue(empty_dsn) == catalogue(dsn)


def test_the_comparison_sees_a_missing_default(empty_dsn: str, dsn: str) -> None:
    execute(
        empty_dsn, SCHEMA.read_text(), "ALTER TABLE workspaces ALTER COLUMN active DROP DEFAULT"
    )
    assert catalogue(empty_dsn) != catalogue(dsn)


def test_the_newest_migration_is_the_version_this_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCHEMA.parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == EXPECTED_VERSION


async def test_migrating_an_empty_database_makes_the_expected_version(empty_dsn: str) -> None:
    assert await versions(empty_dsn) == (None, EXPECTED_VERSION)
    await migrate(empty_dsn)
    assert await versions(empty_dsn) == (EXPECTED_VERSION, EXPECTED_VERSION)


async def test_migrating_a_migrated_database_changes_nothing(dsn: str) -> None:
    await migrate(dsn)
    assert (await versions(dsn)).is_known


async def test_a_database_of_the_first_version_keeps_its_data(empty_dsn: str, dsn: str) -> None:
    def prepare() -> None:
        migrate_blocking(empty_dsn, "0001")
        execute(
            empty_dsn,
            "INSERT INTO workspaces (workspace_id, name, ordinal) VALUES ('harbour', 'Harbour', 0)",
            "INSERT INTO sessions (shard_id, epoch, state, last_unit) "
            "VALUES ('shard-1', 7, 'live', 42)",
            "INSERT INTO heartbeats (shard_id, epoch, expires_at) "
            "VALUES ('shard-1', 7, now() + interval '1 hour')",
        )

    await trio.to_thread.run_sync(prepare)
    with pytest.raises(
        SchemaMismatch, match=f"is at schema version 0001, this release needs {EXPECTED_VERSION}"
    ):
        (await versions(empty_dsn)).require()
    await migrate(empty_dsn)
    assert await trio.to_thread.run_sync(catalogue, empty_dsn) == await trio.to_thread.run_sync(
        catalogue, dsn
    )
    async with open_bridge():
        database = Database(empty_dsn)
        # The session that was live goes on, unit by unit, and may own what is there.
        session, harbour = SessionRef("shard-1", 7), workspace_resource("harbour")
        assert await PostgresIngestStore(database).load_last_unit(session) == 42
        assert await PostgresLeaseStore(database).claim(session, [harbour]) == {harbour: 1}
        assert (await PostgresLeaseStore(database).look(session)).members == {"shard-1"}
        await database.aclose()


async def test_a_failed_migration_keeps_those_before_it_and_can_go_on(
    empty_dsn: str,
) -> None:
    def prepare() -> None:
        migrate_blocking(empty_dsn, "0002")
        execute(
            empty_dsn, "CREATE INDEX rejections_reason_index ON rejections (origin)"
        )  # of v0004's name

    await trio.to_thread.run_sync(prepare)
    with pytest.raises(ProgrammingError, match="rejections_reason_index"):
        await migrate(empty_dsn)
    assert (await versions(empty_dsn)).current == "0003"
    await trio.to_thread.run_sync(execute, empty_dsn, "DROP INDEX rejections_reason_index")
    await migrate(empty_dsn)
    assert (await versions(empty_dsn)).is_known


EDGE = (
    "INSERT INTO connection_events (workspace_id, provider_id, at, kind) "
    "VALUES ('w', 'p', now(), 'call_failed')"
)
READ_CYCLES = "SELECT cycle_id FROM poll_cycles"
TOUCH_CYCLES = "UPDATE poll_cycles SET outcome = outcome"
# Not pg_stat_activity, which stands still within a transaction.
WAITING = """
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE NOT l.granted AND d.datname = current_database()
"""


@pytest.mark.parametrize(
    ("version", "first", "then"),
    [("0002", "UPDATE sessions SET epoch = 1", EDGE), ("0003", READ_CYCLES, TOUCH_CYCLES)],
)
async def test_statements_in_flight_go_on_while_a_migration_waits(
    empty_dsn: str, version: str, first: str, then: str
) -> None:
    """A unit locks sessions before all other tables; a cycle's start reads the others first."""

    async def work(connection: Connection) -> None:
        await connection.execute(first)
        began.set()
        while not await connection.fetchval(WAITING):
            pass
        await connection.execute(then)

    await trio.to_thread.run_sync(migrate_blocking, empty_dsn, version)
    began = trio.Event()
    async with open_bridge():
        database = Database(empty_dsn)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(database.run, work)
                await began.wait()
                nursery.start_soon(migrate, empty_dsn)
        assert database.statistics().reruns == 0
        await database.aclose()
    assert (await versions(empty_dsn)).is_known


def test_two_processes_may_migrate_at_once(empty_dsn: str) -> None:
    code = (
        "import sys; from storage.migrations import migrate_blocking; migrate_blocking(sys.argv[1])"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, empty_dsn], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors


@pytest.mark.parametrize("current", [None, "0000", "9999"])
def test_an_unknown_schema_is_refused_and_the_remedy_named(current: str | None) -> None:
    with pytest.raises(SchemaMismatch, match="lastheard migrate") as refusal:
        SchemaVersion(current, "0001").require()
    assert refusal.value.permanent


async def test_ordinals_are_given_anew_within_each_interval_in_order(empty_dsn: str) -> None:
    """Before 0006 all workspaces shared one series, inactive ones too."""
    rows = [
        ("a", 300, True),
        ("b", 60, True),
        ("c", 300, False),
        ("d", 60, False),
        ("e", 300, True),
        ("f", 60, True),
    ]

    def prepare() -> list[tuple[object, ...]]:
        migrate_blocking(empty_dsn, "0005")
        insert = (
            "INSERT INTO workspaces (workspace_id, name, ordinal, poll_interval_seconds, active) "
            "VALUES "
        )
        execute(
            empty_dsn,
            *(
                f"{insert} ('{name}', 'W', {n}, {interval}, {active})"
                for n, (name, interval, active) in enumerate(rows, 7)
            ),
        )
        migrate_blocking(empty_dsn)
        select = """SELECT workspace_id, ordinal, scheduled_since IS NOT NULL AS scheduled,
                           config_version
                    FROM workspaces ORDER BY workspace_id"""
        return [tuple(row.values()) for row in fetch(empty_dsn, select)]

    assert await trio.to_thread.run_sync(prepare) == [
        ("a", 0, True, 2),
        ("b", 0, True, 2),
        ("c", None, False, 2),
        ("d", None, False, 2),
        ("e", 1, True, 2),
        ("f", 1, True, 2),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "active = false",
        "ordinal = NULL",
        "scheduled_since = NULL",
        "ordinal = 1",  # the other one's
    ],
)
def test_the_schema_demands_unique_ordinals_of_active_workspaces(dsn: str, change: str) -> None:
    insert = "INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since) VALUES"
    execute(dsn, f"{insert} ('a', 'A', 0, now()), ('b', 'B', 1, now())")
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.UniqueViolationError)):
        execute(dsn, f"UPDATE workspaces SET {change} WHERE workspace_id = 'a'")


OLD_KEYS = (
    # key_id, name, days ago, revoked. The newest that is not revoked keeps a name.
    ("k1", "demo", 3, False),
    ("k2", "demo", 2, False),
    ("k3", "demo", 1, True),
    ("k4", "demo k1", 9, False),  # the name that k1 would get
    ("k5", "liaison", 1, False),
)


async def test_keys_with_one_name_get_names_of_their_own(empty_dsn: str) -> None:
    def prepare() -> dict[str, str]:
        migrate_blocking(empty_dsn, "0004")
        for key_id, name, days, is_revoked in OLD_KEYS:
            revoked_at = "now()" if is_revoked else "NULL"
            execute(
                empty_dsn,
                "INSERT INTO keys (key_id, name, secret_hash, scopes, created_at, revoked_at)"
                f" VALUES ('{key_id}', '{name}', '', '{{read}}', now() - interval '{days} days',"
                f" {revoked_at})",
            )
        migrate_blocking(empty_dsn)
        return {row["key_id"]: row["name"] for row in fetch(empty_dsn, "SELECT * FROM keys")}

    assert await trio.to_thread.run_sync(prepare) == {
        "k1": "demo k1",
        "k2": "demo",
        "k3": "demo k3",
        "k4": "demo k1 k4",
        "k5": "liaison",
    }
    with pytest.raises(asyncpg.UniqueViolationError):
        await trio.to_thread.run_sync(execute, empty_dsn, "UPDATE keys SET name = 'demo'")


OLD_LEASES = (
    # The first row is renamed first, to the name that the second still has.
    "INSERT INTO leases (resource, token, shard_id, epoch) VALUES ('a', 5, 'shard-1', 7)",
    "INSERT INTO leases (resource, token) VALUES ('workspace:a', 3)",
    "INSERT INTO sessions (shard_id, epoch, state) VALUES ('shard-1', 7, 'live')",
)


async def test_leases_take_the_spelling_of_events_and_keep_tokens(empty_dsn: str) -> None:
    def prepare() -> list[tuple[object, ...]]:
        migrate_blocking(empty_dsn, "0006")
        insert = "INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since) VALUES"
        execute(empty_dsn, f"{insert} ('a', 'A', 0, now()), ('workspace:a', 'B', 1, now())")
        execute(empty_dsn, *OLD_LEASES)
        migrate_blocking(empty_dsn, "0007")
        select = "SELECT resource, token, shard_id, epoch FROM leases ORDER BY token"
        return [tuple(row.values()) for row in fetch(empty_dsn, select)]

    assert await trio.to_thread.run_sync(prepare) == [
        ("workspace:workspace:a", 3, None, None),
        ("workspace:a", 5, "shard-1", 7),
    ]
    async with open_bridge():
        database = Database(empty_dsn)
        session, first = SessionRef("shard-1", 7), workspace_resource("a")
        assert (await PostgresLeaseStore(database).look(session)).mine == {first: 5}
        await database.aclose()


# What a shard of 0.1.0 sends in a round, from its storage/sql/leases.sql.
OLD_LOOK = """
SELECT w.workspace_id, l.token FROM workspaces w LEFT JOIN leases l ON l.resource = w.workspace_id
"""
OLD_CLAIM = "INSERT INTO leases (resource) SELECT w.workspace_id FROM workspaces w"


def test_a_shard_of_an_older_release_can_own_nothing(dsn: str) -> None:
    insert = "INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since) VALUES"
    execute(dsn, f"{insert} ('a', 'A', 0, now())")
    execute(dsn, "INSERT INTO leases (resource, token) VALUES ('workspace:a', 1)")
    assert [tuple(row.values()) for row in fetch(dsn, OLD_LOOK)] == [("a", None)]
    with pytest.raises(asyncpg.CheckViolationError, match="leases_resource_check"):
        execute(dsn, OLD_CLAIM)
