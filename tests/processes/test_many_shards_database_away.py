"""Shards whose database is away for longer than a session lasts, and then comes back.

`end_and_judge` looks for the same faults as in `test_many_shards.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.processes.cluster import AGAIN_SECONDS, SHARDS, TTL_SECONDS, instant, open_cluster
from tests.processes.database_proxy import Condition, DatabaseProxy, open_proxy
from tests.processes.verdict import end_and_judge

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tests.conftest import Stores

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.processes,
    pytest.mark.postgres,
    pytest.mark.timeout(90 + 15 * TTL_SECONDS),
]

ABSENCE_SECONDS: Final = 4 * TTL_SECONDS  # 60 s in make chaos
ACCEPTED: Final = "telematics_update_accepted"
REJECTED: Final = "telematics_update_rejected"


async def test_a_lone_shard_outlasts_a_database_absence_without_loss(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with (
        open_proxy(dsn) as proxy,
        open_cluster(
            dsn, postgres_stores, tmp_path, shard_ids=["shard-1"], shard_dsns={"shard-1": proxy.dsn}
        ) as cluster,
    ):
        left_at, back_at = await _take_the_database_away(proxy, Condition.CUT)
        await cluster.wait_everything_at_work()
        shard = (await cluster.shard("shard-1").runtime())["shard"]
        child = cluster.shard("shard-1").child
        tokens = {lease.token for lease in (await cluster.leases()).values()}
        faults = await end_and_judge(cluster)
    prepared = _count_by_trace(
        child.events("telematics_ingress_payload_prepared"), "devices", left_at, back_at
    )
    judged = _count_by_trace(
        [*child.events(ACCEPTED), *child.events(REJECTED)], "updates", back_at, time.time()
    )
    print(
        f"\ndatabase away for {back_at - left_at:.1f} s: {prepared.total()} updates of streams, "
        "prepared meanwhile, arrived afterwards"
    )
    assert faults == []
    assert (shard["epoch"], shard["rejoined"], tokens) == (1, 0, {1})
    assert prepared, "nothing was prepared while the database was away, so nothing could get lost"
    assert prepared <= judged


def _count_by_trace(
    records: Collection[dict[str, Any]], counted: str, begin: float, end: float
) -> Counter[str]:
    """Return the updates by trace_id, from records of this time that have the field `counted`."""
    counts: Counter[str] = Counter()
    for record in records:
        if counted in record and begin < instant(record) < end:
            counts[record["trace_id"]] += record[counted]
    return counts


async def test_three_shards_outlast_a_database_absence_one_owner_each(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with (
        open_proxy(dsn) as proxy,
        open_cluster(
            dsn, postgres_stores, tmp_path, shard_dsns=dict.fromkeys(SHARDS, proxy.dsn)
        ) as cluster,
    ):
        left_at, back_at = await _take_the_database_away(proxy, Condition.FROZEN)
        heard = await cluster.wait_heard(cluster.fleets, back_at, AGAIN_SECONDS)
        await cluster.wait_everything_at_work()
        faults = await end_and_judge(cluster)
    print(
        f"\ndatabase frozen for {back_at - left_at:.1f} s: all three shards' fleets stored again ",
        end="",
    )
    print(f"{max(heard.values()) - back_at:.2f} s after its return")
    assert faults == []


async def _take_the_database_away(
    proxy: DatabaseProxy, condition: Condition
) -> tuple[float, float]:
    """Make the database unreachable for longer than a trust window or a heartbeat lasts.

    Returns when the absence began and when it ended.
    """
    proxy.change(condition)
    left_at = time.time()
    await trio.sleep(ABSENCE_SECONDS)
    proxy.change(Condition.OPEN)
    return left_at, time.time()
