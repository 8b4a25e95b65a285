"""A long bad day: three shards under load while a seeded nemesis breaks things. For `make chaos`.

Not a part of the ordinary tests: it takes minutes. Seed and length come from the environment, so
that a run with a finding can be repeated as far as real processes allow.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.processes.cluster import SHARDS, Cluster, open_cluster
from tests.processes.database_proxy import open_proxy
from tests.processes.nemesis import Nemesis
from tests.processes.verdict import end_and_judge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores

SEED: Final = int(os.environ.get("LASTHEARD_CHAOS_SEED", "20260501"))
SECONDS: Final = float(os.environ.get("LASTHEARD_CHAOS_SECONDS", "180"))
SOAK_TTL_SECONDS: Final = 3.0  # so that there are many takeovers
HEALING_SECONDS: Final = 60.0

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(SECONDS + 240)]


async def test_nothing_is_lost_doubled_or_usurped_on_a_long_bad_day(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        proxies = {
            shard_id: await stack.enter_async_context(open_proxy(dsn)) for shard_id in SHARDS
        }
        ways = {shard_id: proxy.dsn for shard_id, proxy in proxies.items()}
        cluster = await stack.enter_async_context(
            open_cluster(
                dsn,
                postgres_stores,
                tmp_path,
                shard_dsns=ways,
                ttl_seconds=SOAK_TTL_SECONDS,
                seed=SEED,
            )
        )
        nemesis = Nemesis(cluster, proxies, Random(SEED), ttl_seconds=SOAK_TTL_SECONDS)
        await nemesis.rage(SECONDS)
        began = trio.current_time()
        await cluster.wait_everything_at_work(HEALING_SECONDS)
        healed_seconds = trio.current_time() - began
        epochs = sum(
            len(process.shard.child.events("session_begun")) for process in cluster.processes
        )
        faults = await end_and_judge(cluster)
    acknowledged = sum(len(poster.acknowledged) for poster in cluster.posters.values())
    print(f"\nseed {SEED}, {SECONDS:g} s: {dict(nemesis.blows)}")
    print(
        f"{len(cluster.processes)} processes, {epochs} sessions, "
        f"{acknowledged} updates acknowledged over HTTP; ",
        end="",
    )
    print(f"everything at work again {healed_seconds:.1f} s after the last blow")
    _keep_logs(cluster, tmp_path)
    assert faults == [], f"the logs are in {tmp_path}"


def _keep_logs(cluster: Cluster, folder: Path) -> None:
    """Write a log for each process, by the number that the faults name. pytest keeps the folder."""
    for number, process in enumerate(cluster.processes):
        ending = "killed" if process.killed else "ended"
        (folder / f"process-{number}-{process.shard_id}-{ending}.log").write_text(
            process.shard.child.errors
        )
