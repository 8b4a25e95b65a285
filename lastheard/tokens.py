"""`lastheard token create`: makes a key directly in the database, so it needs the DSN.

The format is in api/keys.py and the table in storage/keys.py.
"""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from api.keys import Scope, mint_key
from lastheard.serving import StopSignal, open_database_for_command, until_stopped
from storage.gateway import Database
from storage.keys import PostgresKeys
from storage.migrations import check_schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lastheard.settings import Settings


async def create_token(
    settings: Settings,
    name: str,
    scopes: Sequence[str],
    workspaces: Sequence[str] | None,
    expires_at: datetime | None,
) -> int:
    """Store a new key and print its text, and nothing else, on standard output.

    Return the exit code: 2 for a scope that does not exist.
    """
    unknown = [scope for scope in scopes if scope not in list(Scope)]
    if unknown:
        print(
            f"lastheard: no such scope: {', '.join(unknown)}; there are {', '.join(Scope)}",
            file=sys.stderr,
        )
        return 2
    record, key = mint_key(name, scopes, workspaces, expires_at)

    async def main(_: StopSignal) -> int:
        async with (
            open_database_for_command(settings) as dsn,
            aclosing(Database(dsn, pool_size=2)) as database,
        ):
            (await check_schema(database)).require()
            await PostgresKeys(database).create_key(record)
        print(key)
        return 0

    return await until_stopped(main)
