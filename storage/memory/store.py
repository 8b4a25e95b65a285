"""The twin as a whole: every store protocol of actors/ports.py over one set of tables, and trouble on demand.

For tests only (FR-013): nothing in lastheard/ may import it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from storage.memory.cycles import MemoryCycleStore
from storage.memory.engine import Engine
from storage.memory.ingest import MemoryIngestStore
from storage.memory.keys import MemoryKeys
from storage.memory.leases import MemoryLeaseStore, MemoryNotices
from storage.memory.reads import MemoryReads
from storage.memory.registry import MemoryRegistry
from storage.memory.sessions import MemorySessionStore
from storage.memory.upkeep import MemoryUpkeepStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.ports import CycleStore, IngestStore, LeaseStore, Notices, SessionStore, UpkeepStore
    from api.ports import Keys, Reads, Registry
    from domain.model import CanonicalUpdate
    from storage.memory.engine import Hook, WallClock
    from storage.memory.tables import Tables

DAYS_AHEAD = 7


class MemoryStore(
    MemoryIngestStore,
    MemorySessionStore,
    MemoryCycleStore,
    MemoryUpkeepStore,
    MemoryRegistry,
    MemoryReads,
    MemoryKeys,
    MemoryLeaseStore,
    MemoryNotices,
):
    """A database in memory. `clock.wall()` is database time; it may need a running trio loop, calls have one.

    It fulfils every protocol itself; `ingest`, `sessions`, … name its sides for those who want one of them.

    Partitions for `days_ahead` days are there at the first call, as after a start; None leaves that to the caller.
    After those days the twin refuses events unless somebody keeps up `ensure_partitions`, as PostgreSQL does.
    """

    def __init__(self, clock: WallClock, *, days_ahead: int | None = DAYS_AHEAD) -> None:
        super().__init__(Engine(clock, days_ahead))
        self.ingest: IngestStore = self
        self.sessions: SessionStore = self
        self.cycles: CycleStore = self
        self.upkeep: UpkeepStore = self
        self.registry: Registry = self
        self.reads: Reads = self
        self.keys: Keys = self
        self.leases: LeaseStore = self
        self.notices: Notices = self

    # --- Trouble on demand --------------------------------------------------------------------------------------

    def go_away(self, *, for_next: int | None = None) -> None:
        """Calls of every store raise DatabaseAway: the next so many, or all until `come_back`."""
        self._engine.go_away(math.inf if for_next is None else for_next)

    def come_back(self) -> None:
        """Listeners hear "", as after a connection was lost."""
        self._engine.go_away(0)
        self._engine.notify("")

    def lose_commit(self, *, after: bool) -> None:
        """The next unit's commit is lost: CommitUnknown. `after` tells whether it had been carried out."""
        self._engine.lose_commit(after=after)

    def poison(self, is_poison: Callable[[CanonicalUpdate], bool], *, sqlstate: str = "22P05") -> None:
        """Units with an update of that kind raise UnitPoisoned, until `cure`. Quarantine takes such updates."""
        self._engine.poison(is_poison, sqlstate)

    def cure(self) -> None:
        self._engine.poison(None, "")

    def hold_row(self, table: str, workspace_id: str, name: str, *, holder: str = "somebody") -> None:
        """Lock a row of device_state, snapshots, connection_state or poll_cycles for another transaction. `name` is the
        device, the provider or the cycle_id.
        """
        self._engine.locks.hold((table, workspace_id, name), holder)

    def release_rows(self) -> None:
        """Every row that is held."""
        self._engine.locks.release()

    def before_each_statement(self, hook: Hook | None) -> None:
        """Awaited before every statement of a unit, while it holds the writers' turn: pause there, or raise."""
        self._engine.before_statement = hook

    # --- To look inside -----------------------------------------------------------------------------------------

    @property
    def tables(self) -> Tables:
        """What is committed, for tests of what no protocol tells. Do not write."""
        return self._engine.tables

    def statistics(self) -> dict[str, Any]:
        """Counts of calls and commits, and rows by table."""
        sizes = {name: len(table) for name, table in vars(self.tables).items() if hasattr(table, "__len__")}
        return {**self._engine.statistics(), "rows": sizes}
