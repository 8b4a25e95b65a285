"""The cursor that one poll cycle leaves for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.poll_state import PollState
from actors.rosters import DEFAULT_ROSTERS, Rosters
from domain.cycles import CycleOutcome
from tests.actors.cycling import make_cycle, run_cycle, script
from tests.actors.harness import STEADY
from tests.actors.instants import at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import refused, sample

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.actors.harness import Harness, Shard


async def test_the_next_cycle_begins_where_the_last_commit_was(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    poller = ScriptedPoller(
        page(cursor="c-1"), page(next_page="two", cursor="c-2"), refused(), page(cursor="c-3")
    )
    script(shard, steady=poller)
    state = PollState({STEADY: "c-0"}, Rosters({STEADY: at(0)}, DEFAULT_ROSTERS))
    for number in range(4):
        await run_cycle(shard, number, state)
    assert [call.cursor for call in poller.calls] == ["c-0", "c-1", "c-1", "c-2", "c-3"]


async def test_a_cursor_without_a_seen_commit_is_not_believed(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Reading the same data again is harmless; skipping data is not."""
    poller = ScriptedPoller(page(sample("bus-1", 0, soc_percent=10), cursor="c-1"))
    script(shard, steady=poller)
    state = PollState({STEADY: "c-0"})
    cycle = await make_cycle(shard, 0, state)
    harness.store.go_away()
    nursery.start_soon(shard.ingest.run)
    assert await cycle.run(240, 30) is CycleOutcome.COMPLETED
    assert state.cursors == {STEADY: "c-0"}
    harness.store.come_back()
    await trio.sleep(30)
    (row,) = await harness.cycles()
    assert (row.outcome, row.summary["unconfirmed"]) == (CycleOutcome.COMPLETED, 1)


async def test_a_cursor_whose_data_was_given_up_is_not_believed(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    script(shard, steady=ScriptedPoller(page(sample("bus-1", 0, soc_percent=10), cursor="c-1")))
    state = PollState({STEADY: "c-0"})
    cycle = await make_cycle(shard, 0, state)
    nursery.start_soon(cycle.run, 240.0, 30.0)
    await trio.sleep(1)
    shard.ingest.give_up()
    await trio.sleep(1)
    assert state.cursors == {STEADY: "c-0"}


async def test_a_cursor_whose_last_page_was_given_up_is_not_believed(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    first = page(sample("bus-1", 0, soc_percent=10), next_page="two")
    last = page(sample("bus-1", 1, soc_percent=11), cursor="c-1")
    script(shard, steady=ScriptedPoller(first, 5.0, last))
    state = PollState({STEADY: "c-0"})
    cycle = await make_cycle(shard, 0, state)
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(cycle.run, 240.0, 30.0)
    await trio.sleep(2)
    assert await harness.values("bus-1") == {"soc_percent": 10}
    harness.store.go_away()
    await trio.sleep(5)
    shard.ingest.give_up()
    await trio.sleep(1)
    assert state.cursors == {STEADY: "c-0"}
    nursery.cancel_scope.cancel()
