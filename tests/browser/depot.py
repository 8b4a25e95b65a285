"""A depot of vans whose data only the tests send, so that its states are the same in each run.

Owns its devices: which report, which fell silent, and which never reported.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.processes.instances import add_pushed_fleet, ask, ingest, now, update

if TYPE_CHECKING:
    from tests.processes.shard import Shard

DEPOT: Final = "depot"
HEALTHY: Final = ("van-1", "van-2", "van-3")
SILENT: Final = "van-4"  # reported once, and is stale after a second
NEVER: Final = "van-5"
# Quick enough to watch it: reported when the test says so, delayed and stale some seconds later.
QUICK: Final = "quick"
QUICK_DEVICE: Final = "cart-1"
QUICK_POLICY: Final = {
    "freshness_target_seconds": 2,
    "delayed_after_seconds": 3,
    "stale_after_seconds": 6,
    "grace_seconds": 3600,
}
EXAMPLES: Final = {"workspace_id": DEPOT, "device_id": SILENT}


async def add_depot(shard: Shard) -> None:
    """Configure the depot, and report what its vans did."""
    await add_pushed_fleet(shard, DEPOT, (*HEALTHY, SILENT, NEVER))
    await add_pushed_fleet(shard, QUICK, (QUICK_DEVICE,))
    await ask(shard, "PUT", f"/workspaces/{QUICK}/policy", QUICK_POLICY, **{"if-match": "*"})
    await _override(shard, SILENT, delayed_after_seconds=0.5, stale_after_seconds=1)
    await _override(shard, NEVER, grace_seconds=1)
    await report(shard, DEPOT, SILENT, soc=34)
    for number, device in enumerate(HEALTHY):
        await report(shard, DEPOT, device, seconds_ago=20 + number, soc=50 + 9 * number)


async def _override(shard: Shard, device: str, **thresholds: float) -> None:
    headers = {"content-type": "application/merge-patch+json", "if-match": "*"}
    body = {"overrides": thresholds}
    await ask(shard, "PATCH", f"/workspaces/{DEPOT}/devices/{device}", body, **headers)


async def report(
    shard: Shard, workspace: str, device: str, *, seconds_ago: float = 0, soc: float = 50
) -> None:
    """Send one reading of a device, observed so long ago."""
    at = now() - timedelta(seconds=seconds_ago)
    outcomes = await ingest(shard, update(workspace, device, at, soc_percent=soc))
    assert outcomes == ["accepted"], outcomes
