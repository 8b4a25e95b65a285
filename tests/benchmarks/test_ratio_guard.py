"""A guard of the speed: small loads, judged by core time beside a reference of the same run.

Core time depends little on what else the machine does, and other work can only raise it. So the
cheapest run of each side is compared. A bound lies between what was measured when it was set and
its double: a crowded machine passes, and doubled work does not. The figures themselves come from
`make bench` (B2, B3, B5), with full loads and closer bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import updates
from benchmarks.place import open_place
from benchmarks.service import Sizes, prepare
from benchmarks.trees import inspect, present_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.place import Place

MOST_UNIT = 2.0  # core times of the plain loop that commits the same units
ROUNDS = 3
UPDATES, DEVICES = 12_000, 4_000


@pytest.fixture
async def bench() -> AsyncIterator[Place]:
    """A server as durable as in production: commits that wait for the disk are part of the cost."""
    async with open_place() as place:
        await place.check_durable()
        yield place


@pytest.mark.timeout(600)
async def test_an_update_costs_no_multiple_of_a_plain_loops(bench: Place) -> None:
    tree = await inspect("the present tree", present_folder())
    template = await prepare(tree, bench, Sizes(1, DEVICES, 1))
    task = updates.new_task(UPDATES, DEVICES)
    ours, reference = [], []
    for _ in range(ROUNDS):
        ours.append((await updates.measure_ours(template, bench, task)).cores_us)
        reference.append((await updates.measure_reference(tree, bench, task)).cores_us)
    assert min(ours) / min(reference) <= MOST_UNIT, f"{ours} µs an update, {reference}"
