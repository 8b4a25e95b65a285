"""Membership and leases, in the database's time. docs/ownership.md describes the protocol.

Owns the transactions, not the decisions: runtime/assignment.py decides which leases to want. A
transaction that writes a lease first holds the session's own row in share mode, so a shard that was
declared dead can no longer claim or release anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from domain.model import SessionRef
from domain.resource import workspace_of, workspace_resource
from ports.leases import Look
from storage.queries import sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.resource import Resource
    from storage.gateway import Connection, Database
    from storage.rows import Row


class Member(NamedTuple):
    """A live session as one look finds it.

    `seconds_left` is the time until its heartbeat expires; zero or less once it has expired.
    """

    session: SessionRef
    draining: bool
    seconds_left: float


class Holding(NamedTuple):
    """A lease of the looking session on an inactive workspace, or a free workspace.

    `free_seconds` is how long it has been free.
    """

    resource: Resource
    owned: bool
    token: int
    free_seconds: float


class PostgresLeaseStore:
    """ports.leases.LeaseStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self, session: SessionRef) -> Look:
        async def work(connection: Connection) -> Look:
            rows = await connection.fetch(sql("look_at_members"))
            holdings = await connection.fetch(sql("look_at_leases"), *session, rows[0]["now"])
            members = [_to_member(row) for row in rows if row["shard_id"] is not None]
            # Nearly all rows, of 10,000 every two seconds, are leases that we hold.
            mine = {
                workspace_resource(row["workspace_id"]): row["token"]
                for row in holdings
                if row["owned"] and row["active"]
            }
            others = [_to_holding(row) for row in holdings if not (row["owned"] and row["active"])]
            return assemble_look(session, members, mine, others)

        return await self._database.run(work, readonly=True)

    async def declare_dead(self, session: SessionRef) -> list[SessionRef]:
        async def work(connection: Connection) -> list[SessionRef]:
            await connection.fetch(sql("stop_expired_writers"), session.shard_id)
            expired = [
                row["shard_id"] for row in await connection.fetch(sql("lock_expired"), *session)
            ]
            if not expired:
                return []
            rows = await connection.fetch(sql("declare_dead"), expired)
            if rows:
                dead = [row["shard_id"] for row in rows]
                await connection.execute(sql("end_backlogs"), dead)
                await connection.execute(sql("notify_leases"))
            return sorted(SessionRef(row["shard_id"], row["epoch"]) for row in rows)

        return await self._database.run(work)

    async def claim(
        self, session: SessionRef, resources: Sequence[Resource]
    ) -> Mapping[Resource, int]:
        wanted = sorted({workspace_of(resource) for resource in resources})

        async def work(connection: Connection) -> dict[Resource, int]:
            if not wanted or await connection.fetchrow(sql("hold_session"), *session) is None:
                return {}
            await connection.execute(sql("make_leases"), wanted)
            rows = await connection.fetch(sql("claim_leases"), wanted, *session)
            return {row["resource"]: row["token"] for row in rows}

        return await self._database.run(work)

    async def release(self, session: SessionRef, leases: Mapping[Resource, int]) -> int:
        async def work(connection: Connection) -> int:
            if not leases or await connection.fetchrow(sql("hold_session"), *session) is None:
                return 0
            pairs = list(leases.keys()), list(leases.values())
            released: int = await connection.fetchval(sql("release_leases"), *session, *pairs)
            if released:
                await connection.execute(sql("notify_leases"))
            return released

        return await self._database.run(work)

    async def load_credentials(self) -> Mapping[Resource, frozenset[str]]:
        async def work(connection: Connection) -> dict[Resource, frozenset[str]]:
            rows = await connection.fetch(sql("load_credentials"))
            return {
                workspace_resource(row["workspace_id"]): frozenset(row["credentials"])
                for row in rows
            }

        return await self._database.run(work, readonly=True)


def assemble_look(
    session: SessionRef,
    members: Sequence[Member],
    mine: Mapping[Resource, int],
    others: Sequence[Holding],
) -> Look:
    """Return the look of this session. `mine`: its leases on active workspaces, with their tokens.

    Pure; the twin uses it too.

    `expired` and `next_expiry_seconds` are about other shards, because no session can declare
    itself dead. A live session of our own shard that is not this one is a later boot of it. It is
    not a member for us, and we do not wait for it.
    """
    rivals = [member for member in members if member.session.shard_id != session.shard_id]
    counted = [member for member in members if member.session == session] + rivals
    left = [member.seconds_left for member in rivals]
    return Look(
        members=frozenset(
            m.session.shard_id for m in counted if m.seconds_left > 0 and not m.draining
        ),
        mine=mine,
        retired={item.resource: item.token for item in others if item.owned},
        free={item.resource: item.free_seconds for item in others if not item.owned},
        expired=any(seconds <= 0 for seconds in left),
        next_expiry_seconds=min((seconds for seconds in left if seconds > 0), default=None),
    )


def _to_member(row: Row) -> Member:
    return Member(SessionRef(row["shard_id"], row["epoch"]), row["draining"], row["seconds_left"])


def _to_holding(row: Row) -> Holding:
    return Holding(
        workspace_resource(row["workspace_id"]),
        row["owned"],
        row["token"] or 0,
        max(0.0, row["free_seconds"]),
    )
