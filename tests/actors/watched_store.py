"""A store between the ingest actor and the twin: it sees which units are in flight together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.claims import workspaces_of
from tests.actors.watching import BesideTheTwin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.model import Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from storage.memory import MemoryStore


class WatchedStore(BesideTheTwin):
    """A store between the actor and the twin: it looks at what is in flight, and may crash."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.crashes: dict[int, Exception] = {}  # the next one, by writer
        self.in_flight: dict[int, frozenset[str]] = {}  # workspaces, by writer
        self.together: set[frozenset[int]] = set()  # writers seen in flight together
        self.sizes: list[int] = []
        self.beside_another = 0  # attempts that began beside a unit in flight

    @property
    def most_together(self) -> int:
        return max(map(len, self.together), default=0)

    async def commit_unit(
        self,
        session: SessionRef,
        unit: int,
        submissions: Sequence[Submission],
        counts: RefusalCounts | None = None,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        mine = frozenset().union(*map(workspaces_of, submissions))
        assert writer not in self.in_flight
        assert all(mine.isdisjoint(others) for others in self.in_flight.values())
        self.in_flight[writer] = mine
        self.together.add(frozenset(self.in_flight))
        self.sizes.append(sum(len(each.updates) for each in submissions))
        self.beside_another += len(self.in_flight) > 1
        try:
            if crash := self.crashes.pop(writer, None):
                await trio.lowlevel.checkpoint()
                raise crash
            return await self._store.commit_unit(session, unit, submissions, counts, writer)
        finally:
            del self.in_flight[writer]
