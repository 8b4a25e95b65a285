"""The twin as a whole: what the actors need of ports/ on one set of tables, and trouble on demand.

For tests only (FR-013): nothing in lastheard/ may import it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.memory.cutovers import MemoryCutovers
from storage.memory.cycles import MemoryCycleStore
from storage.memory.engine import Engine
from storage.memory.fleets import MemoryFleets
from storage.memory.ingest import MemoryIngestStore
from storage.memory.leases import MemoryLeaseStore, MemoryNotices
from storage.memory.reads import MemoryReads
from storage.memory.sessions import MemorySessionStore
from storage.memory.upkeep import MemoryUpkeepStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from domain.model import CanonicalUpdate
    from ports.cycles import CycleStore
    from ports.ingest import IngestStore
    from ports.leases import LeaseStore
    from ports.notices import Notices
    from ports.sessions import SessionStore
    from ports.upkeep import UpkeepStore
    from storage.memory.engine import EngineStatistics, Hook, WallClock
    from storage.memory.tables import Tables

DAYS_AHEAD = 7


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """The use of one twin."""

    engine: EngineStatistics
    rows: Mapping[str, int]  # by table


class MemoryStore(
    MemoryIngestStore,
    MemorySessionStore,
    MemoryCycleStore,
    MemoryUpkeepStore,
    MemoryFleets,
    MemoryCutovers,
    MemoryReads,
    MemoryLeaseStore,
    MemoryNotices,
):
    """A database in memory.

    `clock.wall()` is database time; it may need a running trio loop, and calls have one. The store
    implements the protocols itself. `ingest`, `sessions`, … name its sides for callers that want
    one of them. `registry` and `reads` are parts of the API's protocols: they fill the twin with
    fleets, and show what is stored.

    Partitions for `days_ahead` days exist from the first call on, as after a start; None leaves
    that to the caller. After those days the twin refuses events until somebody calls
    `ensure_partitions`, as PostgreSQL does.
    """

    def __init__(self, clock: WallClock, *, days_ahead: int | None = DAYS_AHEAD) -> None:
        super().__init__(Engine(clock, days_ahead))
        self.ingest: IngestStore = self
        self.sessions: SessionStore = self
        self.cycles: CycleStore = self
        self.upkeep: UpkeepStore = self
        self.registry: MemoryFleets = self
        self.cutovers: MemoryCutovers = self
        self.reads: MemoryReads = self
        self.leases: LeaseStore = self
        self.notices: Notices = self

    # --- Trouble on demand

    def go_away(self, *, for_next: int | None = None) -> None:
        """Make calls of every store raise DatabaseAway.

        That holds for the next `for_next` calls, or for all until `come_back`.
        """
        self._engine.go_away(math.inf if for_next is None else for_next)

    def come_back(self) -> None:
        """Answer calls again. Listeners receive "", as after a lost connection."""
        self._engine.go_away(0)
        self._engine.notify("")

    def lose_commit(self, *, after: bool) -> None:
        """Lose the next unit's commit, which then raises CommitUnknown.

        `after` says whether the commit was carried out.
        """
        self._engine.lose_commit(after=after)

    def poison(
        self, is_poison: Callable[[CanonicalUpdate], bool], *, sqlstate: str = "22P05"
    ) -> None:
        """Make units with an update of that kind raise UnitPoisoned, until `cure`.

        Quarantine takes such updates.
        """
        self._engine.poison(is_poison, sqlstate)

    def cure(self) -> None:
        self._engine.poison(None, "")

    def hold_row(
        self, table: str, workspace_id: str, name: str, *, holder: str = "somebody"
    ) -> None:
        """Lock a row for another transaction.

        `table` is device_state, snapshots, connection_state or poll_cycles. `name` is the device,
        the provider or the cycle_id.
        """
        self._engine.locks.hold((table, workspace_id, name), holder)

    def release_rows(self) -> None:
        """Release every row that is held."""
        self._engine.locks.release()

    def before_each_statement(self, hook: Hook | None) -> None:
        """Await the hook before every statement of a unit, which holds the writers' turn.

        The hook may pause the unit or raise.
        """
        self._engine.before_statement = hook

    # --- To look inside

    @property
    def tables(self) -> Tables:
        """The committed rows, for tests of what no protocol shows. Do not write."""
        return self._engine.tables

    def statistics(self) -> MemoryStatistics:
        sizes = {
            name: len(table)
            for name, table in vars(self.tables).items()
            if hasattr(table, "__len__")
        }
        return MemoryStatistics(self._engine.statistics(), sizes)
