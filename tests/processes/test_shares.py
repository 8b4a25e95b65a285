"""The shares of shards and fleets by their names, which the tests of many shards rely on."""

from __future__ import annotations

from collections import Counter

from domain.resource import workspace_resource
from runtime.assignment import alone
from runtime.rendezvous import desired_owner
from tests.processes.cluster import NEWCOMER, SHARDS, SLOW_FLEET, STREAMED_FLEET, VICTIM
from tests.processes.fleets import DEPOT

STREAMED = [f"fleet-{number:02d}" for number in range(1, 7)]
POLLED = [f"fleet-{number:02d}" for number in range(7, 10)]


def share_of(shard_id: str, *members: str) -> set[str]:
    return {
        name
        for name in (*STREAMED, *POLLED, DEPOT)
        if desired_owner(alone(workspace_resource(name)), members) == shard_id
    }


def test_the_victim_owns_two_streams_a_poll_and_the_depot() -> None:
    share = share_of(VICTIM, *SHARDS)
    assert share == {STREAMED_FLEET, "fleet-04", SLOW_FLEET, DEPOT}
    assert len(share.intersection(STREAMED)) == 2


def test_every_shard_owns_three_fleets() -> None:
    assert all(len(share_of(shard_id, *SHARDS) - {DEPOT}) == 3 for shard_id in SHARDS)


def test_a_newcomer_takes_from_every_shard_and_two_from_one() -> None:
    moved = share_of(NEWCOMER, *SHARDS, NEWCOMER)
    givers = Counter(
        shard_id for shard_id in SHARDS for name in share_of(shard_id, *SHARDS) if name in moved
    )
    assert sorted(givers.values()) == [1, 2, 2]
