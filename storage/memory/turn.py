"""The writers' turn of the twin: one transaction at a time, or units of one session together.

Owns who may write now. Nobody overtakes: a transaction that waits for the units in flight goes
before every later unit, as one does on PostgreSQL that holds the rows of a session's writers.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import trio

if TYPE_CHECKING:
    from domain.model import SessionRef


class _Waiting(NamedTuple):
    session: SessionRef | None
    admitted: trio.Event


class WritersTurn:
    """A lock that units of the same session may hold together. Others hold it alone."""

    def __init__(self) -> None:
        self._holders = 0
        self._session: SessionRef | None = None  # whose units hold it; None: another transaction
        self._waiting: deque[_Waiting] = deque()

    @property
    def is_taken(self) -> bool:
        return self._holders > 0

    async def acquire(self, session: SessionRef | None) -> None:
        """Wait in line for the turn: with a session for one of its units, else alone.

        The caller's cancel scope is the deadline; cancelled means not acquired.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._waiting and self._admits(session):
            self._enter(session)
            return
        waiting = _Waiting(session, trio.Event())
        self._waiting.append(waiting)
        try:
            await waiting.admitted.wait()
        except trio.Cancelled:
            self._waiting.remove(waiting)
            self._admit_waiting()
            raise

    def release(self) -> None:
        self._holders -= 1
        self._admit_waiting()

    def _admits(self, session: SessionRef | None) -> bool:
        return not self._holders or (session is not None and session == self._session)

    def _enter(self, session: SessionRef | None) -> None:
        self._session = session
        self._holders += 1

    def _admit_waiting(self) -> None:
        while self._waiting and self._admits(self._waiting[0].session):
            waiting = self._waiting.popleft()
            self._enter(waiting.session)
            waiting.admitted.set()
