"""A store between the ingest actor and the twin, which notes what the actor asks of it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from domain.deferral import Key
    from domain.model import Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from storage.memory import MemoryStore


class BesideTheTwin:
    """What a watching store only passes on."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        return await self._store.find_locked(rows)

    async def load_last_unit(self, session: SessionRef, writer: int = 0) -> int | None:
        return await self._store.load_last_unit(session, writer)

    async def quarantine(self, *args: Any) -> Sequence[Receipt]:
        return await self._store.quarantine(*args)


class Watched(BesideTheTwin):
    """A store between the actor and the twin that notes every attempt, and crashes when told to."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.attempts: list[tuple[float, int, int]] = []  # when, unit, submissions
        self.crashes: list[Exception] = []

    async def commit_unit(
        self,
        session: SessionRef,
        unit: int,
        submissions: Sequence[Submission],
        counts: RefusalCounts | None = None,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        self.attempts.append((trio.current_time(), unit, len(submissions)))
        if self.crashes:
            await trio.lowlevel.checkpoint()
            raise self.crashes.pop()
        return await self._store.commit_unit(session, unit, submissions, counts, writer)


def delays(watched: Watched) -> list[float]:
    return [later[0] - earlier[0] for earlier, later in pairwise(watched.attempts)]
