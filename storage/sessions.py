"""A shard's own rows, its session and its heartbeat; and the configuration that it reads.

Times are the database's. The heartbeat reads the session without a lock, so a renewal never waits
for a unit.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import orjson

from domain.health_causes import MAX_WAITING_SECONDS
from domain.model import SessionRef
from ports.ingest import MAX_WRITERS
from ports.sessions import Fleet, SessionStart
from storage.queries import bound, sql
from storage.rows import to_connection, to_device, to_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import Device, Workspace
    from ports.sessions import VitalSigns
    from storage.gateway import Connection, Database
    from storage.rows import Row


class PostgresSessionStore:
    """ports.sessions.SessionStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_session(
        self,
        shard_id: str,
        *,
        ttl_seconds: float,
        after: SessionRef | None = None,
        boot_id: str | None = None,
        is_member: bool = True,
    ) -> SessionStart | None:
        follows = None if after is None else after.epoch

        async def work(connection: Connection) -> SessionStart | None:
            await connection.execute(sql("stop_writers"), shard_id)
            epoch = await connection.fetchval(sql("begin_session"), shard_id, follows, boot_id)
            if epoch is None:
                return None
            await connection.execute(sql("begin_writers"), shard_id, epoch, MAX_WRITERS)
            await connection.execute(sql("end_backlogs"), [shard_id])
            begun = await connection.fetchrow(
                sql("begin_heartbeat"), shard_id, epoch, ttl_seconds, not is_member
            )
            assert begun is not None  # noqa: S101 an INSERT with RETURNING gives its row
            return SessionStart(SessionRef(shard_id, epoch), begun["beat_at"], begun["was_live"])

        return await self._database.run(work)

    async def start_draining(self, session: SessionRef) -> None:
        async def work(connection: Connection) -> None:
            if await connection.fetchrow(sql("start_draining"), *session):
                await connection.execute(sql("notify_leases"))

        await self._database.run(work)

    async def beat(
        self, session: SessionRef, *, ttl_seconds: float, statistics: VitalSigns
    ) -> datetime | None:
        facts = orjson.dumps(statistics).decode()

        async def work(connection: Connection) -> datetime | None:
            beat_at: datetime | None = await connection.fetchval(
                *bound(
                    "beat",
                    shard_id=session.shard_id,
                    epoch=session.epoch,
                    ttl_seconds=ttl_seconds,
                    statistics=facts,
                    max_seconds=MAX_WAITING_SECONDS,
                )
            )
            return beat_at

        # No transaction: this is one statement, and running it twice does no harm. So it is one
        # round trip, by which the clock is measured.
        return await self._database.run(work, in_transaction=False)

    async def end_session(self, session: SessionRef) -> None:
        async def work(connection: Connection) -> None:
            ended = await connection.fetchrow(sql("end_session"), *session)
            await connection.execute(sql("end_heartbeat"), *session)
            if ended:
                await connection.execute(sql("end_backlogs"), [session.shard_id])
                await connection.execute(sql("notify_leases"))

        await self._database.run(work)

    async def load_config_versions(self) -> Mapping[str, int]:
        async def work(connection: Connection) -> dict[str, int]:
            rows = await connection.fetch(sql("load_config_versions"))
            return {row["workspace_id"]: row["config_version"] for row in rows}

        return await self._database.run(work, in_transaction=False)

    async def count_fleets(self, workspace_ids: Sequence[str]) -> Mapping[str, int]:
        async def work(connection: Connection) -> dict[str, int]:
            rows = await connection.fetch(sql("count_fleets"), workspace_ids)
            return {row["workspace_id"]: row["devices"] for row in rows}

        return await self._database.run(work, in_transaction=False)

    async def load_fleet(self, workspace_id: str) -> Fleet | None:
        return (await self.load_fleets([workspace_id])).get(workspace_id)

    async def load_fleets(self, workspace_ids: Sequence[str]) -> Mapping[str, Fleet]:
        async def work(connection: Connection) -> list[Sequence[Row]]:
            statements = (
                "load_fleet_workspaces",
                "load_fleet_connections",
                "load_fleet_devices",
            )
            return [await connection.fetch(sql(name), workspace_ids) for name in statements]

        workspaces, connections, devices = await self._database.run(work, readonly=True)
        return to_fleets(workspaces, connections, devices)


def to_fleets(
    workspaces: Sequence[Row], connections: Sequence[Row], devices: Sequence[Row]
) -> dict[str, Fleet]:
    """Return the fleets by workspace, from rows that are in the order of their keys."""
    connections_of: defaultdict[str, list[Row]] = defaultdict(list)
    devices_of: defaultdict[str, list[Device]] = defaultdict(list)
    for row in connections:
        connections_of[row["workspace_id"]].append(row)
    for row in devices:
        devices_of[row["workspace_id"]].append(to_device(row))
    return {
        row["workspace_id"]: _to_fleet(
            to_workspace(row),
            connections_of[row["workspace_id"]],
            tuple(devices_of[row["workspace_id"]]),
        )
        for row in workspaces
    }


def _to_fleet(
    workspace: Workspace, connections: Sequence[Row], devices: tuple[Device, ...]
) -> Fleet:
    return Fleet(
        workspace,
        tuple(map(to_connection, connections)),
        {row["provider_id"]: row["cursor"] for row in connections if row["cursor"]},
        devices,
        {
            row["provider_id"]: row["roster_begun_at"]
            for row in connections
            if row["roster_begun_at"]
        },
    )
