"""Cycles of workspaces that the legacy system collects: one row, one write, the usual records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from actors.skipping import SKIPPED_SUMMARY
from domain.cutover import Cutover, PollOwner, ReadOwner
from domain.cycles import CycleOutcome
from tests.actors.cycling import make_cycle
from tests.actors.harness import HARBOUR
from tests.actors.instants import INTERVAL, at
from tests.actors.working import regular, working

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.actors.harness import Harness, Shard

LEGACY = Cutover(poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)


def give_to_legacy(harness: Harness) -> None:
    """Set the flags in the twin, as a command would."""
    workspaces = harness.store.tables.workspaces
    stored = workspaces.get((HARBOUR,))
    assert stored is not None
    workspaces.put((HARBOUR,), replace(stored, cutover=LEGACY))


async def test_a_skipped_cycle_sums_up_as_a_run_that_asked_nobody(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    give_to_legacy(harness)
    nursery.start_soon(shard.ingest.run)
    assert await (await make_cycle(shard)).run(240, 30) is CycleOutcome.SKIPPED
    await trio.sleep(1)
    (row,) = await harness.cycles()
    assert row.summary == SKIPPED_SUMMARY


async def test_skipped_cycles_need_no_unit_and_are_told(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    give_to_legacy(harness)
    nursery.start_soon(shard.ingest.run)
    view = await shard.view()
    async with working(shard, view) as actor:
        await trio.sleep(2 * INTERVAL + 5)
        assert actor.statistics().outcomes == {"skipped": 3}
    rows = await harness.cycles()
    starts = [start.start_at for start in regular(0, 3, after=at(0))]
    assert [row.started_at for row in rows] == starts
    assert [(row.outcome, row.ended_at) for row in rows] == [
        (CycleOutcome.SKIPPED, start) for start in starts
    ]
    assert shard.ingest.statistics().units == 0
    assert (await view.ends.take()).cycle_id == rows[-1].cycle_id
