"""`lastheard token create`: a key made straight in the database, for whoever holds the DSN.

Owns nothing of the format (api/keys.py) nor of the table (storage/keys.py).
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from api.keys import mint_key
from lastheard.serving import open_database
from storage.gateway import Database, open_bridge
from storage.keys import PostgresKeys
from storage.migrations import check_schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lastheard.settings import Settings


async def create_token(
    settings: Settings, name: str, scopes: Sequence[str], workspaces: Sequence[str] | None, expires_at: datetime | None
) -> int:
    """Store a new key and print its text on standard output, where it can be piped. Exit code 2 for a wrong scope."""
    try:
        record, key = mint_key(name, scopes, workspaces, expires_at)
    except ValueError as error:
        print(f"lastheard: {error}")
        return 2
    async with open_bridge(), open_database(settings) as dsn, aclosing(Database(dsn, pool_size=2)) as database:
        (await check_schema(database)).require()
        await PostgresKeys(database).create_key(record)
    print(key)
    return 0
