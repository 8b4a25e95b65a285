"""Three shards on one database: one of them is killed, paused, stopped in order, or joins.

After each of these `end_and_judge` looks for the same faults: an acknowledged update lost or stored
twice, two effective owners, a slot collected twice, a vehicle's stream opened twice, and wrong
counts.
"""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.app import PREFIX
from domain.resource import workspace_resource
from runtime.assignment import alone
from runtime.rendezvous import desired_owner
from tests.processes.cluster import (
    AGAIN_SECONDS,
    FENCED,
    NEWCOMER,
    SHARDS,
    SLOW_FLEET,
    TAKEOVER_SECONDS,
    TTL_SECONDS,
    VICTIM,
    Cluster,
    instant,
    open_cluster,
    wait_until,
)
from tests.processes.evidence import fetch_cycles
from tests.processes.verdict import end_and_judge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores
    from tests.processes.child import Child
    from tests.processes.ownership import CycleRow

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.processes,
    pytest.mark.postgres,
    pytest.mark.timeout(90 + 15 * TTL_SECONDS),
]

# Well below the TTL of that test, so that it can only pass if the stop hands over.
PLANNED_SECONDS: Final = 10.0


async def test_fr_015_the_work_of_a_killed_shard_goes_on_elsewhere(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(dsn, postgres_stores, tmp_path) as cluster:
        lost = await cluster.owned_by(VICTIM)
        assert len(lost & cluster.fleets) >= 3
        killed_at = await cluster.kill(VICTIM)
        leases = await cluster.wait_leases(
            lambda now: all(now[name].shard_id in cluster.running for name in lost),
            "new owners",
            TAKEOVER_SECONDS,
        )
        heard = await cluster.wait_heard(lost & cluster.fleets, killed_at, TAKEOVER_SECONDS)
        await cluster.wait_everything_at_work()
        faults = await end_and_judge(cluster)
    owned_at = max(lease.acquired_at for name, lease in leases.items() if name in lost)
    print(
        f"\nkilled, TTL {TTL_SECONDS:g} s: owned again after {owned_at - killed_at:.2f} s, ", end=""
    )
    print(f"all {len(heard)} fleets stored again after {max(heard.values()) - killed_at:.2f} s")
    assert faults == []
    assert max(heard.values()) - killed_at < TAKEOVER_SECONDS


async def test_nfr_003_the_others_tell_of_a_killed_shards_cycle(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(dsn, postgres_stores, tmp_path, intervals={SLOW_FLEET: 8}) as cluster:
        await cluster.order_simulator("/sim/faults", tenant=SLOW_FLEET, faults="latency=4")
        child, began = cluster.shard(VICTIM).child, time.time()
        await child.wait_until(
            lambda: _triggered_since(child, SLOW_FLEET, began), "a slow cycle", 30
        )
        begun = [
            record
            for record in child.events("workspace_poll_cycle_triggered")
            if record["workspace_id"] == SLOW_FLEET
        ][-1]
        await cluster.kill(VICTIM)
        path = f"{PREFIX}/workspaces/{SLOW_FLEET}/cycles/{begun['cycle_id']}"
        others = [
            process.shard for process in cluster.processes if process.shard.child is not child
        ]

        async def told() -> list[list[dict[str, Any]]]:
            return [(await shard.client.get(path)).json()["records"] for shard in others]

        async def is_over() -> bool:
            return all(len(records) == 2 for records in await told())

        await wait_until(is_over, "the end of the cycle", AGAIN_SECONDS, cluster)
        first, *further = await told()
        ends = [
            record
            for shard in others
            for record in shard.child.events("workspace_poll_ingest_completed")
            if record["trace_id"] == begun["trace_id"]
        ]
    assert further == [first] * len(further)
    assert {record["trace_id"] for record in first} == {begun["trace_id"]}
    assert first[0]["name"] == begun["event"]
    for name in ("slot_at", "cycle_started_at"):
        assert datetime.fromisoformat(first[0][name]) == datetime.fromisoformat(begun[name])
    (end,) = ends
    assert first[1]["name"] == end["event"]
    assert first[1]["outcome"] == end["outcome"] == "abandoned"


async def test_a_paused_shard_that_was_declared_dead_rejoins(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(dsn, postgres_stores, tmp_path) as cluster:
        lost = await cluster.owned_by(VICTIM)
        stopped_at = cluster.stop(VICTIM)
        leases = await cluster.wait_leases(
            lambda now: all(now[name].shard_id not in (None, VICTIM) for name in lost),
            "new owners",
            TAKEOVER_SECONDS,
        )
        heard = await cluster.wait_heard(lost & cluster.fleets, stopped_at, TAKEOVER_SECONDS)
        cluster.go_on(VICTIM, stopped_at)
        child = cluster.shard(VICTIM).child
        await child.wait_until(lambda: len(child.events("session_begun")) == 2, "a second session")
        regained = await cluster.wait_leases(
            lambda now: any(
                lease.shard_id == VICTIM and lease.epoch == 2 for lease in now.values()
            ),
            "work again",
            AGAIN_SECONDS,
        )
        again = {
            name for name, lease in regained.items() if lease.shard_id == VICTIM
        } & cluster.fleets
        await cluster.wait_heard(again, time.time(), AGAIN_SECONDS, by=[VICTIM])
        await cluster.wait_everything_at_work()
        fenced = await cluster.count(FENCED)
        faults = await end_and_judge(cluster)
    owned_at = max(lease.acquired_at for name, lease in leases.items() if name in lost)
    print(
        f"\npaused, TTL {TTL_SECONDS:g} s: owned elsewhere after {owned_at - stopped_at:.2f} s, ",
        end="",
    )
    print(
        f"stored again after {max(heard.values()) - stopped_at:.2f} s, "
        f"{fenced} updates fenced afterwards"
    )
    assert faults == []
    # Its eight streaming vehicles have a frame in almost every window. So at any pause some frames
    # are merged and not stored. It submits them when it wakes up, under a session that is over.
    assert fenced > 0
    assert [record["rejoined"] for record in child.events("session_begun")] == [False, True]


async def test_a_planned_stop_hands_over_without_waiting_for_the_ttl(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(
        dsn, postgres_stores, tmp_path, ttl_seconds=15, intervals={SLOW_FLEET: 8}
    ) as cluster:
        lost = await cluster.owned_by(VICTIM)
        # With such slow answers the signal comes while the cycle waits for one.
        await cluster.order_simulator("/sim/faults", tenant=SLOW_FLEET, faults="latency=4")
        child, began = cluster.shard(VICTIM).child, time.time()
        await child.wait_until(
            lambda: _triggered_since(child, SLOW_FLEET, began), "a slow cycle", 15
        )
        stopped_at = time.time()
        await cluster.terminate(VICTIM)
        exit_seconds = time.time() - stopped_at
        await cluster.order_simulator("/sim/faults", tenant=SLOW_FLEET, faults="")
        await cluster.wait_leases(
            lambda now: all(now[name].shard_id in cluster.running for name in lost),
            "new owners",
            PLANNED_SECONDS,
        )
        heard = await cluster.wait_heard(lost & cluster.fleets, stopped_at, PLANNED_SECONDS)
        await wait_until(
            lambda: _is_over(cluster, SLOW_FLEET, stopped_at), "the end of the cycle", 20, cluster
        )
        faults = await end_and_judge(cluster)
        cycles = await fetch_cycles(dsn)
    released = {
        record["workspace_id"]: instant(record) for record in child.events("workspace_handed_over")
    }
    taken = {
        record["workspace_id"]: instant(record)
        for process in cluster.processes
        for record in process.shard.child.events("workspace_taken_up")
        if record["workspace_id"] in lost and instant(record) > stopped_at
    }
    gaps = {name: taken[name] - released[name] for name in lost}
    print(f"\nstopped in order: exit 0 after {exit_seconds:.2f} s, ", end="")
    print(
        f"{len(lost)} workspaces released and taken up within {max(gaps.values()):.2f} s, ", end=""
    )
    print(f"all stored again {max(heard.values()) - stopped_at:.2f} s after the signal")
    assert faults == []
    assert released.keys() == lost
    assert max(gaps.values()) < PLANNED_SECONDS
    assert _attempts_of_slot_at(cycles, SLOW_FLEET, stopped_at) == [
        ("abandoned", 1),
        ("completed", 2),
    ]


def _triggered_since(child: Child, workspace_id: str, since: float) -> bool:
    return any(
        record["workspace_id"] == workspace_id and instant(record) > since
        for record in child.events("workspace_poll_cycle_triggered")
    )


async def _is_over(cluster: Cluster, workspace_id: str, since: float) -> bool:
    """Whether a cycle of the workspace was completed since this instant."""
    completed = await cluster.count(
        f"SELECT count(*) FROM poll_cycles WHERE workspace_id = '{workspace_id}' "
        f"AND outcome = 'completed' AND ended_at > to_timestamp({since})"
    )
    return completed > 0


def _attempts_of_slot_at(
    cycles: list[CycleRow], workspace_id: str, instant: float
) -> list[tuple[str, int]]:
    """Return outcome and number of each attempt of the slot that ran at this instant."""
    mine = [c for c in cycles if c.workspace_id == workspace_id and c.trigger != "manual"]
    slot = max(c.slot_start_at for c in mine if c.slot_start_at.timestamp() <= instant)
    return sorted(
        ((c.outcome, c.attempt) for c in mine if c.slot_start_at == slot), key=lambda each: each[1]
    )


async def test_a_shard_that_joins_is_given_its_share_step_by_step(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    # With this TTL rounds are 2 s apart, so single moves can be told apart on any machine.
    async with open_cluster(dsn, postgres_stores, tmp_path, ttl_seconds=6) as cluster:
        before = await cluster.leases()
        share = {
            name
            for name in before
            if desired_owner(alone(workspace_resource(name)), (*SHARDS, NEWCOMER)) == NEWCOMER
        }
        joined_at = time.time()
        await cluster.start(NEWCOMER)
        after = await cluster.wait_leases(
            lambda now: all(now[name].shard_id == NEWCOMER for name in share),
            "its share",
            AGAIN_SECONDS,
        )
        await cluster.wait_everything_at_work()
        settled, settled_at = await cluster.leases(), time.time()
        faults = await end_and_judge(cluster)
    print(f"\njoined: {len(share)} of {len(before)} workspaces moved, the last one ", end="")
    print(f"{max(after[name].acquired_at for name in share) - joined_at:.2f} s after the start")
    assert faults == []
    assert {name for name in before if settled[name] != before[name]} == share
    for process in cluster.processes:
        given = sorted(
            at
            for at in map(instant, process.shard.child.events("workspace_handed_over"))
            if at < settled_at
        )
        assert all(later - earlier > 0.5 for earlier, later in pairwise(given)), (
            "more than one in a round"
        )
