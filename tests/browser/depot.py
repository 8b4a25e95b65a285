"""Fleets whose data only the tests send: a depot of vans, and one cart with quick thresholds.

Owns their devices, and how one of them reports.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.processes.instances import add_pushed_fleet, ask, ingest, now, update

if TYPE_CHECKING:
    from tests.processes.shard import Shard

DEPOT: Final = "depot"
VANS: Final = ("van-1", "van-2", "van-3", "van-4", "van-5")  # the last one never reports
# Stale soon enough to watch it, and healthy long enough to be seen.
QUICK: Final = "quick"
QUICK_DEVICE: Final = "cart-1"
QUICK_POLICY: Final = {
    "freshness_target_seconds": 14,
    "delayed_after_seconds": 15,
    "stale_after_seconds": 20,
    "grace_seconds": 3600,
}


async def add_depot(shard: Shard) -> None:
    """Configure the fleets, and let the vans report."""
    await add_pushed_fleet(shard, DEPOT, VANS)
    await add_pushed_fleet(shard, QUICK, (QUICK_DEVICE,))
    await ask(shard, "PUT", f"/workspaces/{QUICK}/policy", QUICK_POLICY, **{"if-match": "*"})
    for number, device in enumerate(VANS[:-1]):
        await report(shard, DEPOT, device, seconds_ago=20 + number, soc=50 + 9 * number)


async def report(
    shard: Shard, workspace: str, device: str, *, seconds_ago: float = 0, soc: float = 50
) -> None:
    """Send one reading of a device, observed so long ago."""
    at = now() - timedelta(seconds=seconds_ago)
    outcomes = await ingest(shard, update(workspace, device, at, soc_percent=soc))
    assert outcomes == ["accepted"], outcomes
