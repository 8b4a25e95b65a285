"""The cutover actor among the others of its workspace: it runs, pauses and ends with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio

from actors.runner import WorkspaceRunner
from ports.cutovers import CutoverStores, new_draft
from ports.legacy import LegacyConfiguration
from tests.actors.harness import HARBOUR, until
from tests.actors.instants import INTERVAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from domain.guardrails import EndedCycle
    from domain.parity import ParityCounts
    from ports.sessions import Fleet
    from tests.actors.harness import Harness, Shard

LEGACY = LegacyConfiguration("http://127.0.0.1:9", None, {})
CHILD = f"cutover:{HARBOUR}"


class CountingGuardrails:
    """The queries of ports.guardrails.GuardrailStore: nothing is wrong. Counts the looks."""

    def __init__(self) -> None:
        self.looks = 0

    async def load_cycle_ends(self, workspace_id: str, limit: int) -> Sequence[EndedCycle]:
        self.looks += 1
        return []

    async def load_comparisons(self, workspace_id: str, limit: int) -> Sequence[ParityCounts]:
        return []


async def load_fleet(harness: Harness) -> Fleet:
    fleet = await harness.store.load_fleet(HARBOUR)
    assert fleet is not None
    return fleet


def running(runner: WorkspaceRunner) -> set[str]:
    return set(runner.statistics().actors.children)


async def test_a_cutover_has_an_actor_that_ends_with_its_workspace(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    guardrails, nothing = CountingGuardrails(), cast("Any", None)
    stores = CutoverStores(harness.store, nothing, cast("Any", guardrails), nothing)
    runner = WorkspaceRunner(harness.store, shard.tools, window_seconds=1.0, cutovers=stores)
    async with runner.open():
        await runner.start(shard.session, 1, await load_fleet(harness))
        await trio.sleep(2.5 * INTERVAL)
        assert CHILD not in running(runner)  # it never had a cutover
        assert guardrails.looks == 0

        await harness.store.put_cutover(HARBOUR, draft=new_draft()._replace(legacy=LEGACY))
        await runner.follow(await load_fleet(harness))
        await trio.sleep(1)
        assert CHILD in running(runner)
        assert guardrails.looks == 0  # the cycles before it are not its own
        await until(lambda: guardrails.looks >= 1)  # after the first cycle
        cutover = runner.statistics().workspaces[HARBOUR].cutover
        assert cutover is not None
        assert (cutover.cycles, cutover.failing) == (1, ())

        await runner.pause()
        assert CHILD not in running(runner)
        runner.resume()
        seen = guardrails.looks
        await until(lambda: guardrails.looks > seen)
        assert CHILD in running(runner)

        assert await runner.stop_and_flush(HARBOUR)
        assert running(runner) == set()


async def test_without_stores_there_is_no_cutover_actor(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    runner = WorkspaceRunner(harness.store, shard.tools, window_seconds=1.0)
    await harness.store.put_cutover(HARBOUR, draft=new_draft()._replace(legacy=LEGACY))
    async with runner.open():
        await runner.start(shard.session, 1, await load_fleet(harness))
        assert CHILD not in running(runner)
        assert runner.statistics().workspaces[HARBOUR].cutover is None
