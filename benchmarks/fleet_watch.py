"""How long until a frame can be read: asked of the database, from outside the service.

Owns its connection, in a thread of its own. It looks at some vehicles every 25 ms, so a time is
found up to that much too long.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from benchmarks.fleet_feed import FleetFeed

LOOK_SECONDS = 0.025
WATCHED = 10  # vehicles of each stream
STATES = """
    SELECT device_id, round(extract(epoch FROM last_observed_at) * 1000)::bigint FROM device_state
    WHERE device_id = ANY($1) AND last_observed_at IS NOT NULL"""


class Watch:
    """When each newest reading of some vehicles was seen first (wall clock)."""

    def __init__(self, dsn: str, feed: FleetFeed) -> None:
        self._dsn = dsn
        self._feed = feed
        self._vids = [vid for stream in range(feed.streams) for vid in feed.vids(stream)[:WATCHED]]
        self._seen: dict[str, dict[int, float]] = {vid: {} for vid in self._vids}
        self._stopped = threading.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Watch]:
        """Watch until the end of the block."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(self._look()))
            try:
                yield self
            finally:
                self._stopped.set()

    async def _look(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=10)
        try:
            while not self._stopped.is_set():
                for vid, observed_ms in await connection.fetch(STATES, self._vids):
                    self._seen[vid].setdefault(observed_ms, time.time())
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await connection.close()

    def latencies(
        self, histories: Mapping[str, Sequence[Any]], sent_at: Sequence[Sequence[float]]
    ) -> list[float]:
        """Return the seconds from sending the oldest frame of an event until it could be read.

        Of each event that was seen. No frame of it may have been superseded: then the oldest is the
        one that opened the window.
        """
        found = []
        for vid, seen in self._seen.items():
            stream = int(vid.removeprefix("bus_")) // self._feed.vehicles
            for readings in histories.get(vid, []):
                times = [at - self._feed.started_ms for _, at in readings.values()]
                if (at := seen.get(max(times) + self._feed.started_ms)) is not None:
                    found.append(at - sent_at[stream][min(times)])
        return found


def p99(values: Sequence[float]) -> float:
    """Return the ninety-ninth percentile; infinite if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else float("inf")
