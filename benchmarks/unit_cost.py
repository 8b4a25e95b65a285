"""What an update costs from the mailbox to the commit: B2, B3 and B11.

10,000 devices in workspaces of 100 send updates of 5 signals, in submissions of 100, which are
committed in units of 1,000. B2 compares the rate with that of a plain loop of the same units, B3
with a transaction for each update, B11 the bytes of an event and of the log with those of 0.1.0.
Before a run counts, it is verified: rows, sequences, readings, documents and counts against an
independent model; that all sessions wait for the disk; and that a session declared dead writes
nothing.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import updates, writers
from benchmarks.figure import Figure
from benchmarks.load import Load, expect, workspace_of
from benchmarks.names import UPDATES
from benchmarks.place import fetch, name_of, read_stored
from benchmarks.rounds import Cost, in_turn, ratios
from benchmarks.service import Template, migrate_and_make_key
from benchmarks.trees import inspect, present_folder
from benchmarks.updates import Task
from benchmarks.verification import check_stored, require
from benchmarks.workers import open_worker
from storage.gateway import Database, open_bridge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from benchmarks.place import Place

DEVICES, SIZE = 10_000, 100  # and the devices of each workspace, which are one submission
QUICK_UPDATES, FULL_UPDATES = 40_000, 150_000
QUICK_ROUNDS, FULL_ROUNDS = 3, 5
SINGLE_UPDATES = 3_000  # of transactions of one update
UNIT = "unit"
RATE_MUST, ONE_MUST, TEN_MUST = 0.85, 12.0, 4.0
SIZE_MUST = 0.7
BYTES_BEFORE, LOG_BEFORE = 572.0, 1_600.0  # of 0.1.0: an event with its index; WAL of an update
UPDATES_A_BUS_YEAR = 365 * 24 * 12  # one in five minutes
EVENT_BYTES = """
SELECT sum(pg_table_size(inhrelid))::float8, sum(pg_indexes_size(inhrelid))::float8,
       (SELECT count(*) FROM events)::float8
FROM pg_inherits WHERE inhparent = 'events'::regclass
"""
LOG = "SELECT (pg_current_wal_lsn() - '0/0')::float8"


class Sizes(NamedTuple):
    """Bytes of table and index for each event, and of the log for each update."""

    of_table: float
    of_index: float
    of_log: float


class Sides:
    """Both sides on one place: the product's template database, and the runs of each side."""

    def __init__(self, place: Place, template: Template) -> None:
        self._place = place
        self.template = template
        self.sizes: list[Sizes] = []  # of the product's runs

    @classmethod
    async def prepare(cls, place: Place) -> Sides:
        """Migrate and configure a database with the present tree."""
        tree = await inspect("the present tree", present_folder())
        dsn = await place.new_database()
        key = await migrate_and_make_key(tree, dsn)
        async with open_bridge(), aclosing(Database(dsn, pool_size=2)) as database:
            await writers.prepare_fleets(database, _fleets())
        return cls(place, Template(tree, name_of(dsn), key))

    async def run_ours(self, task: Task) -> Cost:
        """Commit the load with the product, and note the sizes. Raises NotVerified."""
        dsn = await self._place.new_database(self.template.database)
        tree = self.template.tree
        command = tree.command("benchmarks.ingest_driver", dsn, *task.load, SIZE)
        async with open_worker("ingest", command, tree.environment()) as worker:
            ((before,),) = await fetch(dsn, LOG)
            cost, told = await updates.run_committer(self._place, worker, task.load, "ours")
            ((after,),) = await fetch(dsn, LOG)
            ((table, index, events),) = await fetch(dsn, EVENT_BYTES)
            self.sizes.append(
                Sizes(table / events, index / events, (after - before) / task.load.updates)
            )
            await updates.verify_ours(worker, dsn, told, task)
        await self._place.drop_database(dsn)
        return cost

    async def run_reference(self, task: Task, way: str) -> Cost:
        """Commit the load with the plain loop, in units or by so many connections."""
        dsn = await self._place.new_database()
        tree = self.template.tree
        command = tree.command("benchmarks.bare_judge", dsn, *task.load, SIZE, way)
        async with open_worker("the reference", command, tree.environment()) as worker:
            cost, _ = await updates.run_committer(self._place, worker, task.load, "the reference")
            require(check_stored(await read_stored(dsn, UPDATES), task.expected))
        await self._place.drop_database(dsn)
        return cost


async def measure_rate(place: Place, quick: bool) -> list[Figure]:
    """B2: the rate as a share of a plain loop's that commits the same units. Raises NotVerified."""
    sides, task = await Sides.prepare(place), new_task(quick)
    runs = {"ours": partial(sides.run_ours, task), "loop": partial(sides.run_reference, task, UNIT)}
    found = await _alternate(runs, quick)
    rate = ratios(_rates(found["ours"]), _rates(found["loop"]))
    return [Figure("B2", rate.median, RATE_MUST, seen=_describe(found))]


async def measure_singles(place: Place, quick: bool) -> list[Figure]:
    """B3: the rate in rates of transactions of one update. Raises NotVerified."""
    sides, task = await Sides.prepare(place), new_task(quick)
    load = Load(SINGLE_UPDATES, SINGLE_UPDATES)  # each device's first update
    single = Task(load, expect(load))
    ways = {"one connection": ("1", ONE_MUST), "ten connections": ("10", TEN_MUST)}
    runs = {name: partial(sides.run_reference, single, way) for name, (way, _) in ways.items()}
    found = await _alternate({"ours": partial(sides.run_ours, task), **runs}, quick)
    return [
        Figure(
            f"B3 {name}",
            ratios(_rates(found["ours"]), _rates(found[name])).median,
            must,
            seen=_describe({side: found[side] for side in ("ours", name)}),
        )
        for name, (_, must) in ways.items()
    ]


async def measure_sizes(place: Place, _: bool) -> list[Figure]:
    """B11: bytes of an event and of the log as shares of those of 0.1.0. Raises NotVerified.

    As long if `quick`: the log holds each page whole when it is first written after a checkpoint,
    and a short run would write little else.
    """
    sides = await Sides.prepare(place)
    await sides.run_ours(new_task(quick=False))
    ((table, index, log),) = sides.sizes
    year = (table + index) * UPDATES_A_BUS_YEAR / 1e6
    stored = {"bytes of table": table, "bytes of index": index, "megabytes a bus-year": year}
    return [
        Figure("B11 bytes of an event", (table + index) / BYTES_BEFORE, SIZE_MUST, True, stored),
        Figure("B11 log of an update", log / LOG_BEFORE, SIZE_MUST, True, {"bytes of log": log}),
    ]


def new_task(quick: bool) -> Task:
    """Return the load of this benchmark, and what must be stored after it."""
    load = Load(QUICK_UPDATES if quick else FULL_UPDATES, DEVICES)
    return Task(load, expect(load))


def _fleets() -> dict[str, list[str]]:
    names = Load(0, DEVICES).device_ids()
    parts = (names[start : start + SIZE] for start in range(0, DEVICES, SIZE))
    return {workspace_of(part[0], SIZE): part for part in parts}


async def _alternate(
    runs: Mapping[str, Callable[[], Awaitable[Cost]]], quick: bool
) -> dict[str, list[Cost]]:
    """Measure every side once in each round; in every second round the other way round."""
    found: dict[str, list[Cost]] = {name: [] for name in runs}
    for number in range(QUICK_ROUNDS if quick else FULL_ROUNDS):
        for name in in_turn(number, list(runs), list(runs)[::-1])[0]:
            found[name].append(await runs[name]())
    return found


def _rates(costs: Sequence[Cost]) -> list[float]:
    return [cost.rate for cost in costs]


def _describe(found: Mapping[str, Sequence[Cost]]) -> dict[str, float]:
    """Return the medians of each side, by name with unit."""
    seen = {}
    for side, costs in found.items():
        seen[f"{side}: updates a second"] = median(_rates(costs))
        seen[f"{side}: core µs an update"] = median(cost.own_us for cost in costs)
        seen[f"{side}: PostgreSQL's core µs an update"] = median(c.database_us for c in costs)
    return seen
