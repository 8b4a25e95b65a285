"""Disturb a cluster at random, by a seed: several blows at a time, one at a time to each process.

Owns the choice and the repair: it mends everything that it breaks before it ends. It must never
judge.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from tests.conftest import execute
from tests.processes.database_proxy import Condition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from random import Random

    from tests.processes.cluster import Cluster
    from tests.processes.database_proxy import DatabaseProxy

PAUSE_SECONDS: Final = (0.2, 3.0)  # between two blows
HARM_TTLS: Final = (0.1, 3.0)  # shorter and longer than a session lasts
EXIT_SECONDS: Final = 45.0  # a planned stop during other blows: its budgets and a margin
KILL_BACKENDS: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE 'lastheard/%' AND datname = current_database()
        AND random() < {share}
"""


class Nemesis:
    """Deals the blows, and counts them. `proxies`: each shard's own way to the database."""

    def __init__(
        self,
        cluster: Cluster,
        proxies: Mapping[str, DatabaseProxy],
        random: Random,
        *,
        ttl_seconds: float,
    ) -> None:
        self.blows: Counter[str] = Counter()
        self._cluster = cluster
        self._proxies = proxies
        self._random = random
        self._ttl_seconds = ttl_seconds
        self._busy: set[str] = set()
        self._starting = trio.Lock()

    async def rage(self, seconds: float) -> None:
        """Deal blows for so many seconds. Returns when everything that was broken is mended."""
        harms = [
            self._kill,
            self._kill,
            self._pause,
            self._pause,
            self._restart,
            self._cut_off,
            self._freeze,
        ]
        others = [self._kill_backends, self._disconnect, self._slow_down]
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(seconds):
                while True:
                    await trio.sleep(self._random.uniform(*PAUSE_SECONDS))
                    free = sorted(self._cluster.running.keys() - self._busy)
                    if free and self._random.random() < 0.7:
                        nursery.start_soon(
                            self._strike, self._random.choice(harms), self._random.choice(free)
                        )
                    else:
                        nursery.start_soon(self._random.choice(others))

    async def _strike(self, blow: Callable[[str], Awaitable[None]], shard_id: str) -> None:
        self._busy.add(shard_id)
        await blow(shard_id)
        self._busy.discard(shard_id)

    def _duration(self) -> float:
        return self._ttl_seconds * self._random.uniform(*HARM_TTLS)

    # --- to one process

    async def _kill(self, shard_id: str) -> None:
        self.blows["kill -9"] += 1
        await self._cluster.kill(shard_id)
        await trio.sleep(self._duration())
        await self._start(shard_id)

    async def _pause(self, shard_id: str) -> None:
        self.blows["pause"] += 1
        stopped_at = self._cluster.stop(shard_id)
        await trio.sleep(self._duration())
        self._cluster.go_on(shard_id, stopped_at)

    async def _restart(self, shard_id: str) -> None:
        self.blows["planned stop"] += 1
        await self._cluster.terminate(shard_id, EXIT_SECONDS)
        await self._start(shard_id)

    async def _start(self, shard_id: str) -> None:
        """Start a shard while no backends are killed.

        One that loses its connection as it starts ends with 69. A container would start it again,
        and here nobody would.
        """
        async with self._starting:
            await self._cluster.start(shard_id)

    async def _cut_off(self, shard_id: str) -> None:
        await self._part_from_database(shard_id, Condition.CUT)

    async def _freeze(self, shard_id: str) -> None:
        await self._part_from_database(shard_id, Condition.FROZEN)

    async def _part_from_database(self, shard_id: str, condition: Condition) -> None:
        self.blows[f"database {condition.value} for one"] += 1
        self._proxies[shard_id].change(condition)
        await trio.sleep(self._duration())
        self._proxies[shard_id].change(Condition.OPEN)

    # --- to all

    async def _kill_backends(self) -> None:
        self.blows["backends killed"] += 1
        statement = KILL_BACKENDS.format(share=self._random.choice((0.2, 1.0)))
        async with self._starting:
            await trio.to_thread.run_sync(execute, self._cluster.dsn, statement)

    async def _disconnect(self) -> None:
        self.blows["streams disconnected"] += 1
        await self._cluster.order_simulator("/sim/disconnect", abrupt=self._random.random() < 0.5)

    async def _slow_down(self) -> None:
        """Make providers answer late, or not at all, for a while."""
        self.blows["providers slow"] += 1
        order = partial(self._cluster.order_simulator, "/sim/faults")
        await order(faults="latency=0.7,http_503=0.2,retry_after=1")
        await trio.sleep(self._duration())
        await order(faults="")
