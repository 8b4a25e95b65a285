"""Sign-ins as stored: the hash of the cookie's secret, never the secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ports.sign_ins import FoundSignIn, ListedSignIn, SignInRecord
from storage.keys import to_key
from storage.queries import bound, sql

if TYPE_CHECKING:
    from datetime import datetime

    from storage.gateway import Connection, Database
    from storage.rows import Row

MAX_OF_ONE_KEY = 100


class PostgresSignIns:
    """ports.sign_ins.SignIns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_sign_in(self, record: SignInRecord) -> None:
        members = record._asdict()
        del members["ended_at"]
        call = bound("create_sign_in", **members)

        async def work(connection: Connection) -> None:
            await connection.execute(*call)
            await connection.execute(sql("end_oldest_sign_ins"), record.key_id, MAX_OF_ONE_KEY)

        await self._database.run(work)

    async def find_sign_in(self, sign_in_id: str) -> FoundSignIn | None:
        async def work(connection: Connection) -> FoundSignIn | None:
            row = await connection.fetchrow(sql("find_sign_in"), sign_in_id)
            assert row is not None  # noqa: S101 it begins with a row of its own
            return None if row["sign_in_id"] is None else _to_found(row)

        return await self._database.run(work, in_transaction=False)

    async def list_sign_ins(self, key_id: str, now: datetime) -> list[ListedSignIn]:
        async def work(connection: Connection) -> list[ListedSignIn]:
            rows = await connection.fetch(sql("list_sign_ins"), key_id, now, MAX_OF_ONE_KEY)
            return [ListedSignIn(**row) for row in rows]

        return await self._database.run(work, in_transaction=False)

    async def end_sign_in(self, key_id: str, sign_in_id: str) -> bool:
        async def work(connection: Connection) -> bool:
            return await connection.fetchrow(sql("end_sign_in"), key_id, sign_in_id) is not None

        return await self._database.run(work)

    async def end_sign_ins(self, key_id: str) -> int:
        async def work(connection: Connection) -> int:
            return len(await connection.fetch(sql("end_sign_ins"), key_id))

        return await self._database.run(work)


def _to_found(row: Row) -> FoundSignIn:
    sign_in = SignInRecord(
        sign_in_id=row["sign_in_id"],
        key_id=row["key_of_sign_in"],
        secret_hash=row["sign_in_hash"],
        expires_at=row["sign_in_expires_at"],
        ended_at=row["ended_at"],
        address=row["address"],
        user_agent=row["user_agent"],
    )
    return FoundSignIn(sign_in, None if row["key_id"] is None else to_key(row))
