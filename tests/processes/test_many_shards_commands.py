"""Commands on one shard's API about workspaces of another shard, with notices and without them."""

from __future__ import annotations

import shutil
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.processes.cluster import (
    AGAIN_SECONDS,
    SHARDS,
    SLOW_FLEET,
    STREAMED_FLEET,
    TTL_SECONDS,
    VICTIM,
    Cluster,
    open_cluster,
    wait_until,
)
from tests.processes.deaf_proxy import open_deaf_proxy
from tests.processes.shard import PREFIX, Shard
from tests.processes.verdict import end_and_judge

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tests.conftest import Stores
    from tests.processes.child import Child

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.processes,
    pytest.mark.postgres,
    pytest.mark.timeout(90 + 15 * TTL_SECONDS),
]


NOTICE_SECONDS: Final = 2.0  # 1 s is promised
HEARTBEAT_SECONDS: Final = 7.0  # without notices 5 s are promised
DEVICE_BODY: Final = ("provider_id", "external_id", "vehicle_id", "vehicle_name")
PROVIDER_BODY: Final = ("provider_type", "transport", "base_url", "settings")


async def test_fr_013_commands_reach_another_shard_even_without_notices(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with (
        open_deaf_proxy(dsn) as proxy,
        open_cluster(
            dsn,
            postgres_stores,
            tmp_path,
            shard_dsns=dict.fromkeys(SHARDS, proxy.dsn),
            ttl_seconds=15,
        ) as cluster,
    ):
        told = await _command_everything(cluster, tmp_path / "first")
        proxy.deafen()
        found = await _command_everything(cluster, tmp_path / "second")
        faults = await end_and_judge(cluster)
    for how, seconds in (("by notice", told), ("by heartbeat", found)):
        print(
            f"\nreached {how}: "
            + ", ".join(f"{what} {after:.2f} s" for what, after in seconds.items()),
            end="",
        )
    assert faults == []
    assert proxy.refused >= len(SHARDS)
    assert max(told.values()) < NOTICE_SECONDS
    assert max(found.values()) < HEARTBEAT_SECONDS


async def _command_everything(cluster: Cluster, credential: Path) -> dict[str, float]:
    """Send each kind of command to one shard's API, about fleets of another shard.

    Returns for each how many seconds passed until the owner's actors worked by it.
    """
    client, owner = cluster.shard("shard-1").client, cluster.shard(VICTIM)
    stream, polled = (f"{PREFIX}/workspaces/{name}" for name in (STREAMED_FLEET, SLOW_FLEET))
    device, provider = f"{stream}/devices/bus_0001", f"{stream}/providers/viriciti"
    bus, connection = (await client.get(device)).json(), (await client.get(provider)).json()
    await trio.to_thread.run_sync(
        shutil.copy, connection["credential"].removeprefix("file:"), credential
    )
    reached = {}
    for what, send in {
        "a retired device": partial(client.delete, device),
        "a new device": partial(client.put, device, json=_only(bus, DEVICE_BODY)),
        "another credential": partial(
            client.put,
            provider,
            json={**_only(connection, PROVIDER_BODY), "credential": f"file:{credential}"},
        ),
        # Another one each time: a command that changes nothing reaches nobody.
        "a cutover": partial(
            client.patch,
            f"{stream}/cutover",
            json={"gate": {"cycles": len(credential.name)}},
            headers={"If-Match": "*"},
        ),
        "a run": partial(client.post, f"{polled}/cycles", json={"when": "now"}),
    }.items():
        answer = await send()
        assert answer.is_success, answer.text
        workspace_id = SLOW_FLEET if what == "a run" else STREAMED_FLEET
        reached[what] = await _wait_reached(cluster, owner, workspace_id)
        if what == "a run":
            await _wait_triggered(owner.child, answer.json()["cycle_id"])
    since = time.time()
    await cluster.wait_heard([STREAMED_FLEET], since, AGAIN_SECONDS, by=[VICTIM])
    return reached


async def _wait_reached(cluster: Cluster, owner: Shard, workspace_id: str) -> float:
    """Wait until the owner's actors use the stored configuration. Returns the seconds it took."""
    began = time.time()
    version = await cluster.count(
        f"SELECT config_version FROM workspaces WHERE workspace_id = '{workspace_id}'"
    )

    async def reached() -> bool:
        owned = (await owner.runtime())["shard"]["owned"]["workspaces"]
        return bool(owned[workspace_id]["config_version"] >= version)

    await wait_until(reached, f"configuration {version} of {workspace_id}", AGAIN_SECONDS, cluster)
    return time.time() - began


async def _wait_triggered(child: Child, cycle_id: str) -> None:
    await child.wait_until(
        lambda: any(
            r["cycle_id"] == cycle_id for r in child.events("workspace_poll_cycle_triggered")
        ),
        f"cycle {cycle_id}",
    )


def _only(body: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: body[name] for name in names}
