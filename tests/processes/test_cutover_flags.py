"""A running shard follows the flags of a cutover: it stops asking at once, and begins again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from lastheard.simulation import run_simulator
from tests.legacy.scripted import SHAPE
from tests.processes.fleets import ask_simulator, make_fleets, make_key
from tests.processes.shard import PREFIX, Shard, open_shard

if TYPE_CHECKING:
    from pathlib import Path

    from lastheard.simulation import Simulated
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

FLEETS: Final = ("--devices", "6", "--tenants", "1", "--rfms-tenants", "1", "--seed", "9")
NOTICE_SECONDS: Final = 2.0  # 1 s is promised
LONG_SECONDS: Final = 8.0  # several intervals of the fleets, which are 3 s
LEGACY: Final = {"base_url": "http://127.0.0.1:9", "credential": None, "shape": SHAPE}


async def test_a_shard_stops_asking_for_legacy_and_begins_again(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    key = await make_key(postgres_stores)
    async with run_simulator(*FLEETS) as simulated:
        await make_fleets(postgres_stores, simulated, tmp_path)
        names = [tenant.name for tenant in simulated.tenants]
        async with open_shard(dsn, key) as shard:
            for name in names:
                await _wait_healthy(shard, name)
            for name in names:
                await _set(shard, name, poll_owner="legacy", read_owner="legacy")
                assert await _followed_within(shard, name) < NOTICE_SECONDS
            await trio.sleep(LONG_SECONDS)  # a cycle in flight ends under its own flags
            before = await _asked(simulated)
            await trio.sleep(LONG_SECONDS)
            assert await _asked(simulated) == before
            for name in names:
                await _assert_skipped(shard, name)
                assert await _ingest(shard, name) == "accepted"
            for name in names:
                await _set(shard, name, poll_owner="both_shadow", read_owner="legacy")
                await _wait_collected(shard, name)
            assert await _asked(simulated) != before


async def _set(shard: Shard, workspace_id: str, **flags: str) -> None:
    answer = await shard.client.put(
        f"{PREFIX}/workspaces/{workspace_id}/cutover",
        json={"legacy": LEGACY, **flags},
        headers={"If-Match": "*"},
    )
    assert answer.status_code == 200, answer.text


async def _followed_within(shard: Shard, workspace_id: str) -> float:
    """Wait until the actors have the stored configuration, and no stream. Return the seconds."""
    began = time.monotonic()
    stored = (await shard.get(f"{PREFIX}/workspaces/{workspace_id}")).json()["config_version"]
    with trio.fail_after(20):
        while True:
            running = (await shard.runtime())["shard"]["owned"]["workspaces"][workspace_id]
            if running["config_version"] >= stored and not running["streams"]:
                return time.monotonic() - began
            await trio.sleep(0.05)


async def _asked(simulated: Simulated) -> Any:
    """Return every call that the providers saw, by fleet, and every stream connection."""
    tenants = (await ask_simulator(simulated, "/sim/statistics?brief=true"))["tenants"]
    calls = {name: tenant["requests"] for name, tenant in tenants.items()}
    return calls, await ask_simulator(simulated, "/sim/connections")


async def _newest_cycle(shard: Shard, workspace_id: str) -> Any:
    cycles = (await shard.get(f"{PREFIX}/workspaces/{workspace_id}/cycles")).json()["items"]
    return next(cycle for cycle in cycles if cycle["ended_at"] is not None)


async def _assert_skipped(shard: Shard, workspace_id: str) -> None:
    cycle = await _newest_cycle(shard, workspace_id)
    assert cycle["outcome"] == "skipped"
    assert "poll_owner is legacy" in cycle["summary"]["skipped"]
    path = f"{PREFIX}/workspaces/{workspace_id}/cycles"
    refused = await shard.client.post(path, json={"when": "now"})
    assert (refused.status_code, "poll_owner" in refused.json()["detail"]) == (409, True)


async def _ingest(shard: Shard, workspace_id: str) -> str:
    devices = (await shard.get(f"{PREFIX}/workspaces/{workspace_id}/devices")).json()["items"]
    reading = {"signal": "soc_percent", "value": 50.0, "observed_at": datetime.now(UTC).isoformat()}
    names = ("provider_id", "device_id")
    update = {name: devices[0][name] for name in names}
    body = {"updates": [{"workspace_id": workspace_id, **update, "readings": [reading]}]}
    answer = await shard.client.post(f"{PREFIX}/ingest", json=body)
    return str(answer.json()["results"][0]["outcome"])


async def _wait_collected(shard: Shard, workspace_id: str) -> None:
    with trio.fail_after(30):
        while (await _newest_cycle(shard, workspace_id))["outcome"] != "completed":  # noqa: ASYNC110
            await trio.sleep(0.3)


async def _wait_healthy(shard: Shard, workspace_id: str) -> None:
    with trio.fail_after(60):
        while True:
            report = (await shard.get(f"{PREFIX}/workspaces/{workspace_id}/health")).json()
            if any(item["state"] == "healthy" for item in report["items"]):
                return
            await trio.sleep(0.3)
