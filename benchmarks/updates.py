"""Updates a second from the mailbox to the commit, against a plain asyncpg loop with SQL and tables
of its own.

Both commit the same load in units of 1,000 updates, the product's default shape. Before a run
counts, it is verified: rows, sequences, readings, documents and counts against an independent
model; that both sessions wait for the disk; and that a session declared dead writes nothing.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.load import UPDATES_PER_UNIT, Expected, Load, expect
from benchmarks.names import UPDATES
from benchmarks.place import count_written, fetch, read_stored
from benchmarks.rounds import Cost
from benchmarks.verification import (
    check_counts,
    check_durable,
    check_fence,
    check_stored,
    check_units,
    require,
)
from benchmarks.workers import Worker, open_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from benchmarks.place import Place
    from benchmarks.service import Template
    from benchmarks.trees import Tree


class Task(NamedTuple):
    """The load and its expected result, which is computed once."""

    load: Load
    expected: Expected


def new_task(updates: int, devices: int) -> Task:
    load = Load(updates, devices)
    return Task(load, expect(load))


async def measure_reference(tree: Tree, place: Place, task: Task) -> Cost:
    """Measure the bare loop. Raises NotVerified when its stored rows are not those of the load."""
    dsn = await place.new_database()
    async with _open_committer(
        "the updates' reference", tree, "benchmarks.bare_updates", dsn, task.load
    ) as worker:
        cost, _ = await run_committer(place, worker, task.load, "in the reference's session")
        require(check_stored(await read_stored(dsn, UPDATES), task.expected))
    await place.drop_database(dsn)
    return cost


async def measure_ours(template: Template, place: Place, task: Task) -> Cost:
    """Measure a tree's ingest actor and everything below it. Raises NotVerified."""
    dsn = await place.new_database(template.database)
    tree = template.tree
    async with _open_committer(
        f"ingest of {tree.name}", tree, "benchmarks.ingest_driver", dsn, task.load
    ) as worker:
        cost, told = await run_committer(place, worker, task.load, "in the service's session")
        await verify_ours(worker, dsn, told, task)
    await place.drop_database(dsn)
    return cost


async def verify_ours(worker: Worker, dsn: str, told: Mapping[str, Any], task: Task) -> None:
    """Verify what the product stored and counted, and that its fence holds. Raises NotVerified."""
    counts = told["counts"]
    require(
        [
            *check_stored(await read_stored(dsn, UPDATES), task.expected),
            *check_counts(counts, task.expected, task.load.updates),
            *check_units(counts, task.load.updates, UPDATES_PER_UNIT),
        ]
    )
    await _verify_fence(worker, dsn)


async def run_committer(
    place: Place, worker: Worker, load: Load, session: str
) -> tuple[Cost, dict[str, Any]]:
    """Let a process commit its load; return the cost and what the process said of it."""
    await worker.hear("ready")
    await place.checkpoint()
    before = place.core_seconds()
    await worker.tell("go")
    told = await worker.hear("seconds")
    database = place.core_seconds() - before
    require(check_durable(told["durability"], session))
    own_us, database_us = (1e6 * cores / load.updates for cores in (told["cores"], database))
    return Cost(load.updates / told["seconds"], own_us, database_us), told


async def _verify_fence(worker: Worker, dsn: str) -> None:
    """Declare every session dead in the database; then let the process try a unit of news.

    Raises NotVerified when something was written, or the unit was not refused.
    """
    await fetch(dsn, "UPDATE sessions SET state = 'dead', ended_at = clock_timestamp()")
    before = await count_written(dsn)
    await worker.tell("try")
    told = await worker.hear("refused")
    require(check_fence(before, await count_written(dsn), told["refused"]))


@asynccontextmanager
async def _open_committer(
    name: str, tree: Tree, module: str, dsn: str, load: Load
) -> AsyncIterator[Worker]:
    async with open_worker(name, tree.command(module, dsn, *load), tree.environment()) as worker:
        yield worker
