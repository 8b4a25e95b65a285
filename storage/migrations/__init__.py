"""Versioned migrations, written in SQL, and the check of the database's schema version.

Only this folder knows Alembic and SQLAlchemy, and it loads them only to migrate. Every migration is
a transaction of its own. All run under one advisory lock, so that several processes may start them
at once.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from runtime.faults import EnvironmentFault
from storage.faults import MISSING_RIGHT, explain_error

if TYPE_CHECKING:
    from storage.gateway import Connection, Database

EXPECTED_VERSION = "0028"
MIGRATE_SECONDS = 600.0
# Alembic's context is global to the process. Between processes, the database's lock decides.
_ONE_AT_A_TIME = threading.Lock()


class SchemaMismatch(EnvironmentFault):
    """The database is not at the version that this code was written for."""

    permanent = True


class SchemaVersion(NamedTuple):
    """The database's schema version and the one that this code needs.

    `current` is None for a database that was never migrated.
    """

    current: str | None
    expected: str

    @property
    def is_known(self) -> bool:
        return self.current == self.expected

    def require(self) -> None:
        """Raise SchemaMismatch, saying what to do, unless the two versions are equal."""
        if not self.is_known:
            raise SchemaMismatch(self.explain())

    def explain(self) -> str:
        """Return what is wrong when the two versions differ, and what to do."""
        if self.current is None:
            return "the database has no Lastheard schema: run `lastheard migrate`"
        return (
            f"the database is at schema version {self.current}, this release needs "
            f"{self.expected}: run `lastheard migrate` (or, if the database is ahead, start the "
            "newer release)"
        )


async def migrate(dsn: str) -> None:
    """Bring the database to EXPECTED_VERSION; do nothing if it is there already.

    Blocks for as long as DDL takes, at most MIGRATE_SECONDS, and then raises trio.TooSlowError. It
    is not cancelled half way: the thread goes on even if the caller stops waiting. If a migration
    fails, the database stays at the one before, and the next start goes on from there.
    """
    with trio.fail_after(MIGRATE_SECONDS):
        await trio.to_thread.run_sync(migrate_blocking, dsn, abandon_on_cancel=True)


def migrate_blocking(dsn: str, version: str = EXPECTED_VERSION) -> None:
    """Migrate, for synchronous callers. Do not call it from a thread that runs trio.

    Raises DatabaseRefused if the DSN's user lacks a right, as on PostgreSQL 15 and newer each user
    does who does not own the database. Another `version` is for tests of upgrades.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.exc import ProgrammingError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["dsn"] = dsn
    with _ONE_AT_A_TIME:
        try:
            command.upgrade(config, version)
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != MISSING_RIGHT:
                raise  # a migration with a mistake: a bug
            raise explain_error(MISSING_RIGHT, None, str(error.orig)) from error


async def check_schema(database: Database) -> SchemaVersion:
    """Return the database's version beside the one that this code needs."""

    async def work(connection: Connection) -> str | None:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return version

    return SchemaVersion(await database.run(work, readonly=True), EXPECTED_VERSION)
