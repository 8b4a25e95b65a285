"""The rollup actor: counts hours of indicators in advance, once they can change no more.

Owns when to look for such hours. Safe on every shard at once: the store counts each hour under a
lock of its own, and an hour that was counted stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.statistics import RollupStatistics
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from random import Random

    from ports.rollups import RollupStore

EVERY_SECONDS = 300.0
MOST_HOURS = 24  # in one run; while there are more, the next run follows soon
BEHIND_SECONDS = 1.0
RECENT_HOURS = 48  # each run looks at these; a long look is for an upgrade or a long outage
LONG_LOOK_SECONDS = 86_400.0


class RollupActor:
    """Counts settled hours every five minutes, newest first."""

    def __init__(self, store: RollupStore, random: Random, *, facts_days: int) -> None:
        """`facts_days`: for how many days every fact is kept. Older hours are not counted."""
        self._store = store
        self._random = random
        self._all_hours = facts_days * 24 - 1  # what is older may be dropped while it is counted
        self._backoff = Backoff(random, base_seconds=1.0, cap_seconds=60.0)
        self._log = get_logger("rollups")
        self._edge = EdgeLog(self._log, "rollups")
        self._long_look_at = float("-inf")  # monotonic
        self._counted = 0
        self._is_behind = True

    async def run(self) -> None:
        """Count hours for ever. Ends only by cancellation."""
        while True:
            try:
                counted = await self._count_some()
            except EnvironmentFault as fault:
                self._edge.failed(fault)
                await trio.sleep(self._backoff.next_delay(fault.retry_after))
            else:
                self._edge.recovered()
                self._backoff.reset()
                self._is_behind = counted >= MOST_HOURS
                # Spread, so that many shards do not queue for the same lock.
                pause = BEHIND_SECONDS if self._is_behind else EVERY_SECONDS
                await trio.sleep(pause * self._random.uniform(0.9, 1.1))

    async def _count_some(self) -> int:
        is_long = trio.current_time() >= self._long_look_at
        hours_back = self._all_hours if is_long else min(RECENT_HOURS, self._all_hours)
        counted = await self._store.build_hours(hours_back=hours_back, most=MOST_HOURS)
        if is_long and counted < MOST_HOURS:
            self._long_look_at = trio.current_time() + LONG_LOOK_SECONDS
        self._counted += counted
        if counted:
            self._log.info("indicator_hours_counted", hours=counted)
        return counted

    def statistics(self) -> RollupStatistics:
        return RollupStatistics(counted=self._counted, behind=self._is_behind)
