"""The key that signs page cursors: random, stored in the database, the same for every shard.

The key must never be logged, nor be derived from another secret: anyone may hold a cursor, and
could guess that secret offline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.queries import sql

if TYPE_CHECKING:
    from storage.gateway import Connection, Database


async def load_cursor_key(database: Database) -> bytes:
    """Return the 32 bytes of the key.

    The first call creates it; calls at the same time get the same key. Raises DatabaseAway and
    DatabaseRefused.
    """

    async def work(connection: Connection) -> bytes:
        await connection.execute(sql("make_cursor_key"))
        key: bytes = await connection.fetchval(sql("load_cursor_key"))
        return key

    return await database.run(work)
