"""Three shards on one database, and what befalls them: killed, paused, stopped in order, joined, cut off.

After each of these the same is judged (`Cluster.end_and_judge`): no acknowledged update lost or stored twice, never two
effective owners, no slot collected twice, no vehicle's stream opened twice, and every count adds up.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
import trio

from runtime.rendezvous import desired_owner
from tests.processes.cluster import SHARDS, TTL_SECONDS, instant, open_cluster
from tests.processes.evidence import fetch_cycles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores
    from tests.processes.child import Child
    from tests.processes.ownership import CycleRow

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

VICTIM: Final = "shard-2"  # two streams, a polled fleet and the depot, when all three are there
TAKEOVER_SECONDS: Final = TTL_SECONDS + 10.0
AGAIN_SECONDS: Final = 30.0  # voluntary moves are made one after the other
PLANNED_SECONDS: Final = 10.0  # well below the TTL of that test, so that it can only pass the planned way
SLOW_FLEET: Final = "fleet-07"  # polled, and the victim's
NEWCOMER: Final = "shard-4"


async def test_the_work_of_a_killed_shard_goes_on_elsewhere(dsn: str, postgres_stores: Stores, tmp_path: Path) -> None:
    async with open_cluster(dsn, postgres_stores, tmp_path) as cluster:
        lost = await cluster.owned_by(VICTIM)
        assert len(lost & cluster.fleets) >= 3
        killed_at = await cluster.kill(VICTIM)
        leases = await cluster.wait_leases(
            lambda now: all(now[name].shard_id in cluster.running for name in lost), "new owners", TAKEOVER_SECONDS
        )
        heard = await cluster.wait_heard(lost & cluster.fleets, killed_at, TAKEOVER_SECONDS)
        await cluster.wait_everything_at_work()
        faults = await cluster.end_and_judge()
    owned_at = max(lease.acquired_at.timestamp() for name, lease in leases.items() if name in lost)
    print(f"\nkilled, TTL {TTL_SECONDS:g} s: owned again after {owned_at - killed_at:.2f} s, ", end="")
    print(f"all {len(heard)} fleets stored again after {max(heard.values()) - killed_at:.2f} s")
    assert faults == []
    assert max(heard.values()) - killed_at < TAKEOVER_SECONDS


async def test_a_paused_shard_notices_that_it_was_given_up_and_comes_back_to_work(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(dsn, postgres_stores, tmp_path) as cluster:
        lost = await cluster.owned_by(VICTIM)
        stopped_at = cluster.stop(VICTIM)
        leases = await cluster.wait_leases(
            lambda now: all(now[name].shard_id not in (None, VICTIM) for name in lost), "new owners", TAKEOVER_SECONDS
        )
        heard = await cluster.wait_heard(lost & cluster.fleets, stopped_at, TAKEOVER_SECONDS)
        cluster.go_on(VICTIM, stopped_at)
        child = cluster.shard(VICTIM).child
        await child.wait_until(lambda: len(child.events("session_begun")) == 2, "a second session")
        regained = await cluster.wait_leases(
            lambda now: any(lease.shard_id == VICTIM and lease.epoch == 2 for lease in now.values()),
            "work again",
            AGAIN_SECONDS,
        )
        again = {name for name, lease in regained.items() if lease.shard_id == VICTIM} & cluster.fleets
        await cluster.wait_heard(again, time.time(), AGAIN_SECONDS, by=[VICTIM])
        await cluster.wait_everything_at_work()
        fenced = await cluster.count_fenced()
        faults = await cluster.end_and_judge()
    owned_at = max(lease.acquired_at.timestamp() for name, lease in leases.items() if name in lost)
    print(f"\npaused, TTL {TTL_SECONDS:g} s: owned elsewhere after {owned_at - stopped_at:.2f} s, ", end="")
    print(f"stored again after {max(heard.values()) - stopped_at:.2f} s, {fenced} updates fenced afterwards")
    assert faults == []
    assert [record["rejoined"] for record in child.events("session_begun")] == [False, True]


async def test_a_planned_stop_hands_over_without_waiting_for_the_ttl(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(dsn, postgres_stores, tmp_path, ttl_seconds=15, poll_interval_seconds=10) as cluster:
        lost = await cluster.owned_by(VICTIM)
        # Answers so slow that the cycle is in the middle of one when the signal comes.
        await cluster.order_simulator("/sim/faults", tenant=SLOW_FLEET, faults="latency=5")
        child, began = cluster.shard(VICTIM).child, time.time()
        await child.wait_until(lambda: _triggered_since(child, SLOW_FLEET, began), "a slow cycle", 15)
        stopped_at = time.time()
        await cluster.terminate(VICTIM)
        exit_seconds = time.time() - stopped_at
        await cluster.order_simulator("/sim/faults", tenant=SLOW_FLEET, faults="")
        await cluster.wait_leases(
            lambda now: all(now[name].shard_id in cluster.running for name in lost), "new owners", PLANNED_SECONDS
        )
        heard = await cluster.wait_heard(lost & cluster.fleets, stopped_at, PLANNED_SECONDS)
        await cluster.wait_everything_at_work()
        faults = await cluster.end_and_judge()
        cycles = await fetch_cycles(dsn)
    let_go = {record["workspace_id"]: instant(record) for record in child.events("workspace_handed_over")}
    taken = {
        record["workspace_id"]: instant(record)
        for process in cluster.processes
        for record in process.shard.child.events("workspace_taken_up")
        if record["workspace_id"] in lost and instant(record) > stopped_at
    }
    gaps = {name: taken[name] - let_go[name] for name in lost}
    print(f"\nstopped in order: exit 0 after {exit_seconds:.2f} s, ", end="")
    print(f"{len(lost)} workspaces released and taken up within {max(gaps.values()):.2f} s, ", end="")
    print(f"all stored again {max(heard.values()) - stopped_at:.2f} s after the signal")
    assert faults == []
    assert let_go.keys() == lost
    assert max(gaps.values()) < PLANNED_SECONDS
    assert _attempts_of_slot_at(cycles, SLOW_FLEET, stopped_at) == [("abandoned", 1), ("completed", 2)]


def _triggered_since(child: Child, workspace_id: str, since: float) -> bool:
    return any(
        record["workspace_id"] == workspace_id and instant(record) > since
        for record in child.events("workspace_poll_cycle_triggered")
    )


def _attempts_of_slot_at(cycles: list[CycleRow], workspace_id: str, instant: float) -> list[tuple[str, int]]:
    """The newest slot of the workspace that had begun by then: how its attempts ended."""
    mine = [c for c in cycles if c.workspace_id == workspace_id and c.trigger != "manual"]
    slot = max(c.slot_start_at for c in mine if c.slot_start_at.timestamp() <= instant)
    return sorted(((c.outcome, c.attempt) for c in mine if c.slot_start_at == slot), key=lambda each: each[1])


async def test_a_shard_that_joins_is_given_its_share_step_by_step(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(dsn, postgres_stores, tmp_path) as cluster:
        before = await cluster.leases()
        share = {name for name in before if desired_owner(f"resource:{name}", (*SHARDS, NEWCOMER)) == NEWCOMER}
        joined_at = time.time()
        await cluster.start(NEWCOMER)
        after = await cluster.wait_leases(
            lambda now: all(now[name].shard_id == NEWCOMER for name in share), "its share", AGAIN_SECONDS
        )
        await cluster.wait_everything_at_work()
        settled = await cluster.leases()
        faults = await cluster.end_and_judge()
    print(f"\njoined: {len(share)} of {len(before)} workspaces moved, the last one ", end="")
    print(f"{max(after[name].acquired_at.timestamp() for name in share) - joined_at:.2f} s after the start")
    assert faults == []
    assert {name for name in before if settled[name] != before[name]} == share
    for process in cluster.processes:
        given = [instant(record) for record in process.shard.child.events("workspace_handed_over")]
        given_voluntarily = sorted(at for at in given if at < max(l.acquired_at.timestamp() for l in settled.values()))
        assert all(later - earlier > 0.5 for earlier, later in pairwise(given_voluntarily)), "more than one in a round"
