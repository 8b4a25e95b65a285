"""Membership, leases and notices, on the twin.

Writers take turns. So here too a declaration of death waits for the unit in flight, and two claims
can never meet on a lease.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.model import SessionRef
from domain.resource import workspace_of, workspace_resource
from storage.leases import Holding, Member, assemble_look
from storage.memory.sessions import is_live
from storage.memory.tables import LeaseRow
from storage.notices import NoticeBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import NoReturn

    from domain.model import Workspace
    from domain.resource import Resource
    from ports.leases import Look
    from storage.memory.engine import Engine
    from storage.memory.tables import Tables


class MemoryLeaseStore:
    """ports.leases.LeaseStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def look(self, session: SessionRef) -> Look:
        await self._engine.arrive()
        tables, now = self._engine.tables, self._engine.now()
        mine, others = _holdings(tables, session, now)
        return assemble_look(session, list(_members(tables, now)), mine, others)

    async def declare_dead(self, session: SessionRef) -> list[SessionRef]:
        async with self._engine.writing() as tables:
            now = self._engine.now()
            members = list(_members(tables, now))
            if not any(member.session == session and member.seconds_left > 0 for member in members):
                return []
            expired = sorted(member.session for member in members if member.seconds_left <= 0)
            for dead in expired:
                stored = tables.sessions.get((dead.shard_id,))
                assert stored is not None  # noqa: S101 a member has a session
                tables.sessions.put((dead.shard_id,), stored._replace(state="dead", ended_at=now))
                _silence(tables, dead)
            if expired:
                self._engine.notify("leases")
            return expired

    async def claim(
        self, session: SessionRef, resources: Sequence[Resource]
    ) -> Mapping[Resource, int]:
        async with self._engine.writing() as tables:
            taken: dict[Resource, int] = {}
            for resource in sorted(set(resources)) if is_live(tables, session) else ():
                workspace, lease = (
                    tables.workspaces.get((workspace_of(resource),)),
                    tables.leases.get((resource,)) or LeaseRow(),
                )
                if workspace is not None and workspace.active and not _is_owned(tables, lease):
                    taken[resource] = lease.token + 1
                    tables.leases.put(
                        (resource,), LeaseRow(session, lease.token + 1, self._engine.now())
                    )
            return taken

    async def release(self, session: SessionRef, leases: Mapping[Resource, int]) -> int:
        async with self._engine.writing() as tables:
            released = 0
            for resource, token in leases.items() if is_live(tables, session) else ():
                lease = tables.leases.get((resource,))
                if lease is not None and (lease.owner, lease.token) == (session, token):
                    tables.leases.put(
                        (resource,), lease._replace(owner=None, released_at=self._engine.now())
                    )
                    released += 1
            if released:
                self._engine.notify("leases")
            return released

    async def load_credentials(self) -> Mapping[Resource, frozenset[str]]:
        await self._engine.arrive()
        tables = self._engine.tables
        active = [key for (key,), workspace in tables.workspaces.items() if workspace.active]
        return {workspace_resource(key): frozenset(_credentials(tables, key)) for key in active}


class MemoryNotices:
    """ports.notices.Notices: a fan-out within the process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def listen(self, on_notice: Callable[[str], None]) -> NoReturn:
        box = NoticeBox()
        box.put("")
        self._engine.listeners.append(box.put)
        try:
            await box.tell(on_notice)
        finally:
            self._engine.listeners.remove(box.put)


def _silence(tables: Tables, dead: SessionRef) -> None:
    """Let the heartbeat expire before it began, so that nothing renews it any more."""
    heartbeat = tables.heartbeats.get((dead.shard_id,))
    assert heartbeat is not None  # noqa: S101 a member has one
    over_at = heartbeat.beat_at - timedelta(seconds=1)
    tables.heartbeats.put((dead.shard_id,), heartbeat._replace(expires_at=over_at))


def _members(tables: Tables, now: datetime) -> Iterator[Member]:
    for (shard_id,), stored in tables.sessions.items():
        heartbeat = tables.heartbeats.get((shard_id,))
        if stored.state == "live" and heartbeat is not None:
            seconds_left = (heartbeat.expires_at - now).total_seconds()
            yield Member(SessionRef(shard_id, stored.epoch), heartbeat.draining, seconds_left)


def _holdings(
    tables: Tables, session: SessionRef, now: datetime
) -> tuple[dict[Resource, int], list[Holding]]:
    """Return the leases on active workspaces, with their tokens, and all else that is looked at."""
    mine: dict[Resource, int] = {}
    others: list[Holding] = []
    for (workspace_id,), workspace in tables.workspaces.items():
        resource = workspace_resource(workspace_id)
        lease = tables.leases.get((resource,)) or LeaseRow()
        owned = _is_owned(tables, lease)
        if owned and workspace.active and lease.owner == session:
            mine[resource] = lease.token
        elif (lease.owner == session) if owned else workspace.active:
            seconds = (now - _free_since(tables, lease, workspace)).total_seconds()
            others.append(Holding(resource, owned, lease.token, seconds))
    return mine, others


def _is_owned(tables: Tables, lease: LeaseRow) -> bool:
    """Return whether a live session owns the lease.

    The row of its session decides, whatever the lease says.
    """
    return lease.owner is not None and is_live(tables, lease.owner)


def _free_since(tables: Tables, lease: LeaseRow, workspace: Workspace) -> datetime:
    made_at = tables.made_at[workspace.workspace_id]
    if lease.owner is None:
        return lease.released_at or made_at
    stored = tables.sessions.get((lease.owner.shard_id,))
    if stored is None:
        return made_at
    return (stored.started_at if stored.epoch > lease.owner.epoch else stored.ended_at) or made_at


def _credentials(tables: Tables, workspace_id: str) -> Iterator[str]:
    for connection in tables.providers.of(workspace_id).values():
        if connection.active and connection.credential is not None:
            yield connection.credential
