"""The session this shard writes under: who may commit, and since when.

One place that the shard actor fills and the ingest actor reads, so that a new epoch reaches every later unit at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from domain.model import SessionRef


class CurrentSession:
    """The live session, or none. A unit of an older epoch is refused by the fence in the database, not by this object.

    Its waits have no deadline of their own: without a session there is nothing to do, and the shard actor, which is
    essential, ends the process when it cannot get one.
    """

    def __init__(self) -> None:
        self._session: SessionRef | None = None
        self._changed = trio.Event()

    @property
    def session(self) -> SessionRef | None:
        return self._session

    def replace(self, session: SessionRef) -> None:
        """Make this the session of every unit from now on, and wake who waits for one."""
        self._session = session
        self._wake()

    def mark_fenced(self, session: SessionRef) -> None:
        """A unit found this session dead. Nothing is written until the shard actor has a new one."""
        if self._session == session:
            self._session = None
            self._wake()

    async def wait_for_session(self, *, newer_than: SessionRef | None = None) -> SessionRef:
        """The live session, as soon as there is one that is not `newer_than`."""
        while self._session is None or self._session == newer_than:
            await self._changed.wait()
        return self._session

    async def wait_fenced(self, session: SessionRef) -> None:
        """Return when this session is no longer the live one."""
        while self._session == session:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
