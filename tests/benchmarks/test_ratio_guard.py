"""A guard of the speed: small loads, judged by core time beside a reference of the same run.

Core time depends little on what else the machine does, and other work can only raise it. So the
cheapest run of each side is compared. A bound lies between what was measured when it was set and
its double: a crowded machine passes, and doubled work does not. The figures themselves come from
`make bench` (B2, B3, B5), with full loads and closer bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.load import Load, expect
from benchmarks.place import open_place
from benchmarks.unit_cost import DEVICES, UNIT, Sides
from benchmarks.updates import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.place import Place

pytestmark = pytest.mark.processes

# Measured at a load of eleven on two cores: 1.7 and 17.
MOST_UNIT = 2.6  # core times of a plain loop that commits the same units
LEAST_SINGLE = 9.0  # core times of ours that an update in a transaction of its own takes
ROUNDS = 3
UPDATES, SINGLES = 12_000, 600


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
