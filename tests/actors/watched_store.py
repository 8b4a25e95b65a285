"""A store between the ingest actor and the twin: it sees which units are in flight together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from actors.claims import workspaces_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from domain.deferral import Key
    from domain.model import Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from storage.memory import MemoryStore


@dataclass
class WatchedStore:
    """A store between the actor and the twin: it looks at what is in flight, and may crash."""

    store: MemoryStore
    crashes: dict[int, Exception] = field(default_factory=dict)  # the next one, by writer
    in_flight: dict[int, frozenset[str]] = field(default_factory=dict)  # workspaces, by writer
    together: set[frozenset[int]] = field(default_factory=set)  # writers seen in flight together
    sizes: list[int] = field(default_factory=list)
    beside_another: int = 0  # attempts that began beside a unit in flight

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
            return await self.store.commit_unit(session, unit, submissions, counts, writer)
        finally:
            del self.in_flight[writer]

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        return await self.store.find_locked(rows)

    async def load_last_unit(self, session: SessionRef, writer: int = 0) -> int | None:
        return await self.store.load_last_unit(session, writer)

    async def quarantine(self, *args: Any) -> Sequence[Receipt]:
        return await self.store.quarantine(*args)
