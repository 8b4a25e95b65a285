"""A policy holds on every shard from the first request after its answer, and nothing restarts.

Streams, polls and clients' posts go on meanwhile.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import pytest
import trio

from tests.conftest import fetch
from tests.processes.cluster import SHARDS, Cluster, Lease, open_cluster
from tests.processes.shard import PREFIX
from tests.processes.verdict import end_and_judge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores
    from tests.processes.shard import Shard

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.processes,
    pytest.mark.postgres,
    pytest.mark.timeout(240),
]

CHANGES: Final = 3  # of each workspace's policy
SESSIONS: Final = "SELECT shard_id, epoch, started_at FROM sessions ORDER BY shard_id, epoch"


class Standing(NamedTuple):
    """What a restart would change, of a process, a session, an actor, a stream or a cycle."""

    pids: dict[str, int]  # by shard_id, of processes that run
    sessions: list[tuple[str, int, Any]]  # shard_id, epoch, and when it began
    actors: dict[tuple[str, str], tuple[int, str]]  # shard_id and name -> restarts, running since
    leases: dict[str, Lease]
    sockets: dict[tuple[str, int], float | None]  # tenant and number of the connection -> its end
    broken_off: int


async def test_fr_012_d_009_a_policy_holds_at_once_everywhere_and_restarts_nothing(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_cluster(
        dsn, postgres_stores, tmp_path, shard_ids=SHARDS[:2], ttl_seconds=15
    ) as cluster:
        before = await _look(cluster)
        owners = {lease.shard_id for lease in before.leases.values()}
        wrong = await _change_policies(cluster)
        await cluster.wait_everything_at_work()
        after = await _look(cluster)
        faults = await end_and_judge(cluster)
    assert owners >= set(SHARDS[:2])
    assert before.sockets
    assert before.pids.keys() == {shard_id for shard_id, _, _ in before.sessions}
    assert sum(name.startswith("workspace:") for _, name in before.actors) > len(before.pids)
    assert wrong == []
    assert after == before
    assert faults == []


async def _change_policies(cluster: Cluster) -> list[str]:
    """Change every policy through either shard in turn. Return what health then had wrong."""
    shards = [process.shard for process in cluster.running.values()]
    wrong: list[str] = []
    for number in range(CHANGES):
        for place, name in enumerate(sorted(cluster.fleets)):
            path = f"{PREFIX}/workspaces/{name}"
            policy = {"grace_seconds": 1000.0 + number, "freshness_target_seconds": 20.0 + number}
            writer = shards[(number + place) % len(shards)]
            answer = await writer.client.patch(
                f"{path}/policy", json=policy, headers={"If-Match": "*"}
            )
            assert answer.status_code == 200, answer.text
            wrong += await _read_everywhere(shards, path, policy)
    return wrong


async def _read_everywhere(shards: list[Shard], path: str, policy: dict[str, Any]) -> list[str]:
    """Read health on all shards together. Return a sentence for each device of another policy."""
    wrong: list[str] = []

    async def read(shard: Shard) -> None:
        answer = await shard.get(f"{path}/health")
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"]
        for item in answer.json()["items"]:
            applied = {name: item["thresholds"][name] for name in policy}
            if applied != policy:
                wrong.append(f"{shard.port}: {path} {item['device_id']} has {applied}")

    async with trio.open_nursery() as nursery:
        for shard in shards:
            nursery.start_soon(read, shard)
    return wrong


async def _actors(shard_id: str, shard: Shard) -> list[tuple[tuple[str, str], tuple[int, str]]]:
    """Return how often each actor of a shard was restarted, and since when it runs."""
    runtime = await shard.runtime()
    own, owned = runtime["actors"]["children"], runtime["shard"]["owned"]["actors"]["children"]
    return [
        ((shard_id, name), (child["restarts"], child["since"]))
        for name, child in {**own, **owned}.items()
    ]


async def _look(cluster: Cluster) -> Standing:
    async with httpx.AsyncClient(
        base_url=cluster.simulated.http_url, timeout=10.0, trust_env=False
    ) as client:
        sockets = (await client.get("/sim/connections")).json()
    sessions = await trio.to_thread.run_sync(fetch, cluster.dsn, SESSIONS)
    actors = [await _actors(name, process.shard) for name, process in cluster.running.items()]
    return Standing(
        {
            name: process.shard.child.pid
            for name, process in cluster.running.items()
            if process.shard.child.exit_code is None
        },
        [tuple(row) for row in sessions],
        dict(chain.from_iterable(actors)),
        await cluster.leases(),
        {(entry["tenant"], entry["number"]): entry["closed_at"] for entry in sockets},
        await cluster.count("SELECT count(*) FROM poll_cycles WHERE outcome = 'abandoned'"),
    )
