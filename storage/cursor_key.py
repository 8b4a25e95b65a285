"""The key that signs page cursors: random, in the database, the same for every shard.

It must never be logged, nor be derived from another secret: cursors are in strangers' hands, and they could guess that
secret offline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.queries import sql

if TYPE_CHECKING:
    from storage.gateway import Connection, Database


async def load_cursor_key(database: Database) -> bytes:
    """Return the 32 bytes of the key; the first call makes it, and calls at once get the same.

    Raises DatabaseAway and DatabaseRefused.
    """

    async def work(connection: Connection) -> bytes:
        await connection.execute(sql("make_cursor_key"))
        key: bytes = await connection.fetchval(sql("load_cursor_key"))
        return key

    return await database.run(work)
