"""A guard of the speed: small loads, judged by core time beside a reference of the same run.

Core time depends little on what else the machine does, and other work can only raise it. So the
cheapest run of each side is compared. A bound lies between what was measured when it was set and
its double: a crowded machine passes, and doubled work does not. The figures themselves come from
`make bench` (B2, B3, B5), with full loads and closer bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import counted_health, health_fleet
from benchmarks.cores import of_process
from benchmarks.load import Load, expect
from benchmarks.place import open_place
from benchmarks.plain_http import PlainClient
from benchmarks.service import migrate_and_make_key, open_service
from benchmarks.trees import inspect, present_folder
from benchmarks.unit_cost import DEVICES, UNIT, Sides
from benchmarks.updates import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.place import Place
    from benchmarks.service import Service

pytestmark = pytest.mark.processes

# Measured on a crowded machine (a load of eleven on two cores) 1.7, 17 and 3.8; on a faster one
# without other work 1.5, 11.6 and 3.9.
MOST_UNIT = 2.5  # core times of a plain loop that commits the same units
LEAST_SINGLE = 7.0  # core times of ours that an update in a transaction of its own takes
MOST_HEALTH = 6.0  # core times of a `SELECT 1` request, of a first page with aged counts
ROUNDS = 3
UPDATES, SINGLES = 12_000, 600
HEALTH_DEVICES, REQUESTS = 5_000, 80


@pytest.fixture
async def bench() -> AsyncIterator[Place]:
    """A server as durable as in production: commits that wait for the disk are part of the cost."""
    async with open_place() as place:
        await place.check_durable()
        yield place


@pytest.mark.timeout(600)
async def test_an_update_costs_no_multiple_of_a_plain_loops(bench: Place) -> None:
    sides = await Sides.prepare(bench)
    task, single = task_of(UPDATES, DEVICES), task_of(SINGLES, SINGLES)
    ours, loop, alone = [], [], []
    for _ in range(ROUNDS):
        ours.append((await sides.run_ours(task)).cores_us)
        loop.append((await sides.run_reference(task, UNIT)).cores_us)
        alone.append((await sides.run_reference(single, "1")).cores_us)
    found = f"µs an update: {ours}, of the plain loop {loop}, alone {alone}"
    print(found)
    assert min(ours) / min(loop) <= MOST_UNIT, found
    assert min(alone) / min(ours) >= LEAST_SINGLE, found


def task_of(updates: int, devices: int) -> Task:
    load = Load(updates, devices)
    return Task(load, expect(load))


@pytest.mark.timeout(600)
async def test_a_page_of_health_costs_a_few_select_1_requests(bench: Place) -> None:
    dsn = await bench.new_database()
    tree = await inspect("the present tree", present_folder())
    key = await migrate_and_make_key(tree, dsn)
    await health_fleet.store_fleet(dsn, HEALTH_DEVICES)
    async with (
        open_service(tree, dsn, key, module="benchmarks.select_service") as service,
        PlainClient(service.port, key) as client,
    ):
        select, health = counted_health.REFERENCE, counted_health.path_of("health", "aged")
        costs: dict[str, list[float]] = {select: [], health: []}
        for _ in range(ROUNDS):
            for path, taken in costs.items():
                taken.append(await cost_of_requests(bench, service, client, path))
    print(f"core seconds of {REQUESTS} requests: {costs}")
    assert min(costs[health]) / min(costs[select]) <= MOST_HEALTH, costs


async def cost_of_requests(bench: Place, service: Service, client: PlainClient, path: str) -> float:
    """Return the core seconds of the service and of PostgreSQL. The first request is to warm up."""
    await client.get(path)
    before = of_process(service.pid) + bench.core_seconds()
    for _ in range(REQUESTS):
        await client.get(path)
    return of_process(service.pid) + bench.core_seconds() - before
