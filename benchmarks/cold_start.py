"""B8: a shard that starts with 10,000 workspaces and 100,000 devices, until all are scheduled.

The reference reads the same rows once, each kind of row in one statement, on a plain connection.
Measured from the start of the shard's session, by its own log, until `/runtime` shows a next start
for every workspace. The quick form has a tenth of both.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import asyncpg
import trio

from benchmarks import cores
from benchmarks.figure import Figure
from benchmarks.many_workspaces import Fleets, make_rows, open_maker, open_shard, prepare

if TYPE_CHECKING:
    from benchmarks.place import Place
    from benchmarks.service import Service

FULL, QUICK = Fleets(10_000, 10, 300), Fleets(1_000, 10, 300)
MAX_READS: Final = 20.0
PATIENCE_SECONDS: Final = 300.0
ROUNDS: Final = 3
_READS: Final = (
    "SELECT * FROM workspaces",
    "SELECT * FROM providers",
    "SELECT * FROM connection_state",
    "SELECT * FROM devices",
)


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Return how many times one read of the rows a cold start takes."""
    fleets = QUICK if quick else FULL
    made = await prepare(place)
    async with open_maker(made.tree) as (_, address):
        await make_rows(made.dsn, fleets, address)
        read_seconds = min([await _read(made.dsn) for _ in range(ROUNDS)])
        async with open_shard(made, fleets) as service:
            seconds = await _wait_scheduled(service, fleets)
            own = cores.of_process(service.pid)
    seen = {"seconds": seconds, "read_seconds": read_seconds, "core_seconds": own}
    return [Figure("B8 cold start, reads", seconds / read_seconds, MAX_READS, True, seen)]


async def _read(dsn: str) -> float:
    """Return the seconds of the four statements, on one connection that is open already."""

    async def run() -> float:
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=PATIENCE_SECONDS)
        try:
            began = time.perf_counter()
            for statement in _READS:
                await connection.fetch(statement)
            return time.perf_counter() - began
        finally:
            await connection.close()

    return await trio.to_thread.run_sync(lambda: asyncio.run(run()))


async def _wait_scheduled(service: Service, fleets: Fleets) -> float:
    """Return the seconds from the session's start until every workspace has its next start."""
    with trio.fail_after(PATIENCE_SECONDS):
        while service.count_lines("workspace_taken_up") < fleets.workspaces:  # noqa: ASYNC110
            await trio.sleep(0.2)
        while await _count_scheduled(service) < fleets.workspaces:  # noqa: ASYNC110
            await trio.sleep(0.2)
    ended_at = datetime.now(UTC)
    begun = next(one for one in service.read_records() if one["event"] == "session_begun")
    return (ended_at - datetime.fromisoformat(begun["timestamp"])).total_seconds()


async def _count_scheduled(service: Service) -> int:
    owned = (await service.runtime())["shard"]["owned"]["workspaces"]
    return sum(one["next_start_at"] is not None for one in owned.values())
