"""`lastheard config check --connect`: tries the database as `serve` would use it.

Owns what is printed. It must never start a server, migrate, or write.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from lastheard.serving import StopSignal, embedded_folder, until_stopped
from lastheard.terminal import EXIT_FAILED
from storage.embedded import find_running_server
from storage.gateway import Database
from storage.migrations import check_schema
from storage.pooler_check import refuse_pooling_by_transaction

if TYPE_CHECKING:
    from lastheard.settings import Settings


async def check_database(settings: Settings) -> int:
    """Print what was found. Return 1 unless the database is there with the schema of this release.

    Raises an EnvironmentFault for a database that cannot be reached or used, and SettingsError if
    none is configured.
    """

    async def main(_: StopSignal) -> int:
        dsn = settings.dsn or await find_running_server(embedded_folder(settings))
        if dsn is None:
            print(
                "database: the PostgreSQL in the data folder does not run; "
                "`lastheard serve --embedded` starts it"
            )
            return EXIT_FAILED
        return await _check(dsn)

    return await until_stopped(main)


async def _check(dsn: str) -> int:
    begun_at = trio.current_time()
    async with aclosing(Database(dsn, pool_size=1)) as database:
        schema = await check_schema(database)
        elapsed = trio.current_time() - begun_at
        print(
            f"database: PostgreSQL {database.statistics().server_version}, "
            f"reached in {1000 * elapsed:.0f} ms"
        )
        await refuse_pooling_by_transaction(dsn)
        print("pooler: none that Lastheard could notice")
    if schema.is_known:
        print(f"schema: {schema.current}, as this release needs")
        return 0
    print(f"schema: {schema.explain()}")
    return EXIT_FAILED
