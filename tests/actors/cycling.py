"""Poll cycles of the harbour, made and run by tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.cycle import Cycle
from actors.lanes import LANES
from actors.poll_state import PollState
from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.resource import workspace_resource
from domain.schedule import cycle_id
from ports.cycles import WantedCycle
from tests.actors.harness import HARBOUR, update
from tests.actors.instants import INTERVAL, at

if TYPE_CHECKING:
    from tests.actors.harness import Shard
    from tests.actors.polling import ScriptedPoller


async def make_cycle(shard: Shard, number: int = 0, state: PollState | None = None) -> Cycle:
    """Return a started cycle for the harbour's slot of that number."""
    key = CycleKey(HARBOUR, at(INTERVAL * number), CycleTrigger.SCHEDULE, 1)
    started = await shard.harness.store.start_cycle(
        shard.session, WantedCycle(key, cycle_id(key), "trace-c")
    )
    assert started.started
    view, state = await shard.view(), state or PollState({})
    return Cycle(started, "trace-c", view, state, shard.tools)


async def run_cycle(
    shard: Shard,
    number: int = 0,
    state: PollState | None = None,
    *,
    fetch: float = 240,
    commit: float = 30,
) -> CycleOutcome:
    """Run a cycle to its committed end. Needs the ingest actor."""
    cycle = await make_cycle(shard, number, state)
    outcome = await cycle.run(fetch, commit)
    with trio.fail_after(60):
        await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    return outcome


def script(shard: Shard, **pollers: ScriptedPoller) -> None:
    shard.provider.pollers |= pollers


def fill_poll_lane(shard: Shard) -> None:
    """Fill the lane. The ingest actor must not run."""
    for _ in range(LANES["poll"].capacity // 500):
        shard.send(*[update("bus-2", 0, soc_percent=1)] * 500, origin="poll")
