"""The upkeep actor: event partitions ahead of time, retention behind it.

Owns the daily chores of the database. Safe on every shard at once: the store does each chore under
a lock of its own. Creating partitions waits for the lock; dropping old data is skipped while it is
held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.statistics import UpkeepStatistics
from ports.upkeep import Retention
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from random import Random

    from ports.upkeep import UpkeepStore

EVERY_SECONDS = 3600.0
DAYS_AHEAD = 7


KEPT = Retention()  # unless the settings say otherwise


class UpkeepActor:
    """Makes partitions and applies retention at start and every hour.

    A missed night therefore does not matter.
    """

    def __init__(self, store: UpkeepStore, random: Random, retention: Retention = KEPT) -> None:
        self._store = store
        self._retention = retention
        self._random = random
        self._backoff = Backoff(random, base_seconds=1.0, cap_seconds=60.0)
        self._log = get_logger("upkeep")
        self._edge = EdgeLog(self._log, "upkeep")
        self._days_ahead: int | None = None
        self._dropped: dict[str, int] = {}

    async def run(self) -> None:
        """Do the chores for ever. Ends only by cancellation."""
        while True:
            try:
                await self._do_chores()
            except EnvironmentFault as fault:
                self._edge.failed(fault)
                await trio.sleep(self._backoff.next_delay(fault.retry_after))
            else:
                self._edge.recovered()
                self._backoff.reset()
                # Spread over a tenth of the hour, so that many shards do not queue for the same
                # lock.
                await trio.sleep(EVERY_SECONDS * self._random.uniform(0.95, 1.05))

    async def _do_chores(self) -> None:
        self._days_ahead = await self._store.ensure_partitions(days_ahead=DAYS_AHEAD)
        dropped = await self._store.drop_expired(self._retention)
        for table, rows in dropped.items():
            self._dropped[table] = self._dropped.get(table, 0) + rows
        if any(dropped.values()):
            self._log.info("retention_applied", **dropped)

    def statistics(self) -> UpkeepStatistics:
        return UpkeepStatistics(partition_days_ahead=self._days_ahead, dropped=dict(self._dropped))
