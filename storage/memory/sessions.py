"""A shard's own rows, on the twin."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from domain.model import SessionRef
from ports.ingest import MAX_WRITERS
from ports.sessions import Fleet, SessionStart
from storage.memory.tables import HeartbeatRow, SessionRow, WriterRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ports.sessions import VitalSigns
    from storage.memory.engine import Engine
    from storage.memory.tables import Tables


class MemorySessionStore:
    """ports.sessions.SessionStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin_session(
        self,
        shard_id: str,
        *,
        ttl_seconds: float,
        after: SessionRef | None = None,
        boot_id: str | None = None,
        is_member: bool = True,
    ) -> SessionStart | None:
        async with self._engine.writing() as tables:
            now = self._engine.now()
            former = tables.sessions.get((shard_id,))
            newest = 0 if former is None else former.epoch
            is_ours = former is not None and boot_id is not None and former.boot_id == boot_id
            if after is not None and newest > after.epoch and not is_ours:
                return None
            session = SessionRef(shard_id, max(newest, after.epoch if after else 0) + 1)
            tables.sessions.put((shard_id,), SessionRow(session.epoch, "live", now, None, boot_id))
            for writer in range(MAX_WRITERS):
                tables.session_writers.put((shard_id, writer), WriterRow(session.epoch))
            before = tables.heartbeats.get((shard_id,))
            was_live = before is not None and before.expires_at > now
            expires_at = now + _seconds(ttl_seconds)
            beat = HeartbeatRow(session.epoch, now, expires_at, {}, draining=not is_member)
            tables.heartbeats.put((shard_id,), beat)
            return SessionStart(session, now, was_live)

    async def beat(
        self, session: SessionRef, *, ttl_seconds: float, statistics: VitalSigns
    ) -> datetime | None:
        """Renew the heartbeat. Takes no turn among the writers, so it never waits for a unit."""
        facts = orjson.loads(orjson.dumps(statistics))
        await self._engine.arrive()
        tables = self._engine.tables
        if not is_live(tables, session):
            return None
        former, now = tables.heartbeats.get((session.shard_id,)), self._engine.now()
        renewed = HeartbeatRow(
            session.epoch,
            now,
            now + _seconds(ttl_seconds),
            facts,
            former is not None and former.draining,
        )
        tables.heartbeats.put((session.shard_id,), renewed)
        return now

    async def start_draining(self, session: SessionRef) -> None:
        """Mark the session as draining.

        It stays live, because it still has to commit what it holds.
        """
        key = (session.shard_id,)
        async with self._engine.writing() as tables:
            heartbeat = tables.heartbeats.get(key)
            if heartbeat is not None and is_live(tables, session):
                tables.heartbeats.put(key, heartbeat._replace(draining=True))
                self._engine.notify("leases")

    async def end_session(self, session: SessionRef) -> None:
        key = (session.shard_id,)
        async with self._engine.writing() as tables:
            stored, heartbeat, now = (
                tables.sessions.get(key),
                tables.heartbeats.get(key),
                self._engine.now(),
            )
            if stored is not None and is_live(tables, session):
                tables.sessions.put(key, stored._replace(state="ended", ended_at=now))
                self._engine.notify("leases")
            if heartbeat is not None and heartbeat.epoch == session.epoch:
                tables.heartbeats.put(key, heartbeat._replace(expires_at=now))

    async def load_config_versions(self) -> Mapping[str, int]:
        await self._engine.arrive()
        return {
            key: workspace.config_version
            for (key,), workspace in self._engine.tables.workspaces.items()
        }

    async def count_fleets(self, workspace_ids: Sequence[str]) -> Mapping[str, int]:
        await self._engine.arrive()
        devices = self._engine.tables.devices
        return {
            workspace_id: sum(one.retired_at is None for one in devices.of(workspace_id).values())
            for workspace_id in workspace_ids
        }

    async def load_fleets(self, workspace_ids: Sequence[str]) -> Mapping[str, Fleet]:
        await self._engine.arrive()
        found = {name: self._fleet(name) for name in workspace_ids}
        return {name: fleet for name, fleet in found.items() if fleet is not None}

    async def load_fleet(self, workspace_id: str) -> Fleet | None:
        return (await self.load_fleets([workspace_id])).get(workspace_id)

    def _fleet(self, workspace_id: str) -> Fleet | None:
        tables = self._engine.tables
        workspace = tables.workspaces.get((workspace_id,))
        if workspace is None:
            return None
        states = tables.connection_state.of(workspace_id).items()
        cursors = {
            provider_id: state.cursor
            for (_, provider_id), state in states
            if state.cursor is not None
        }
        rosters = {
            provider_id: state.roster_begun_at
            for (_, provider_id), state in states
            if state.roster_begun_at is not None
        }
        connections = sorted(tables.providers.of(workspace_id).items())
        devices = sorted(tables.devices.of(workspace_id).items())
        active = tuple(device for _, device in devices if device.retired_at is None)
        configured = tuple(connection for _, connection in connections)
        return Fleet(workspace, configured, cursors, active, rosters)


def is_live(tables: Tables, session: SessionRef) -> bool:
    """Return whether the session is live: the fence for every write outside the unit."""
    stored = tables.sessions.get((session.shard_id,))
    return stored is not None and stored.epoch == session.epoch and stored.state == "live"


def _seconds(duration: float) -> timedelta:
    return timedelta(seconds=duration)
