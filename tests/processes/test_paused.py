"""A shard that was started with `--paused`, as on a restored backup: it collects nothing.

It says so in its log, on /readyz, on /runtime, in health and in the tables, and still takes what
clients send.
"""

from __future__ import annotations

from datetime import UTC, datetime
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from lastheard.simulation import run_simulator
from tests.processes.child import Child, run_lastheard
from tests.processes.fleets import (
    DEPOT,
    DEPOT_PROVIDER,
    ask_simulator,
    make_depot,
    make_fleets,
    make_key,
)
from tests.processes.shard import PREFIX, Shard, open_shard

if TYPE_CHECKING:
    from pathlib import Path

    from lastheard.simulation import Simulated
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

# Several intervals of the fleets, which are 3 s.
LONG_SECONDS: Final = 8.0
FLEETS: Final = ("--devices", "6", "--tenants", "2", "--rfms-tenants", "1", "--seed", "9")


async def test_a_paused_shard_asks_no_provider_and_says_so_everywhere(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    key = await make_key(postgres_stores)
    (van,) = await make_depot(postgres_stores, 1)
    async with run_simulator(*FLEETS) as simulated:
        await make_fleets(postgres_stores, simulated, tmp_path)
        before = await _asked(simulated)
        async with open_shard(dsn, key, paused="true") as shard:
            assert await _ingest(shard, van) == "accepted"
            await trio.sleep(LONG_SECONDS)
            assert await _asked(simulated) == before
            for tenant in simulated.tenants:
                await _assert_told(shard, tenant.name)
            assert await _tables(shard, key, tenant.name)
            shard.child.send(SIGTERM)
            assert await shard.child.wait_ended() == 0, shard.child.tail()
        assert "LASTHEARD_PAUSED" in shard.child.events("collecting_paused")[0]["remedy"]
        assert shard.child.events("service_started")[0]["paused"] is True

        async with open_shard(dsn, key) as shard:
            for tenant in simulated.tenants:
                await _wait_healthy(shard, tenant.name)
            ready = (await shard.get("/readyz")).json()
            assert ready["collecting_paused"] is False


async def _asked(simulated: Simulated) -> Any:
    """Return every call that the providers saw, by fleet, and every stream connection."""
    tenants = (await ask_simulator(simulated, "/sim/statistics?brief=true"))["tenants"]
    calls = {name: tenant["requests"] for name, tenant in tenants.items()}
    return calls, await ask_simulator(simulated, "/sim/connections")


async def _ingest(shard: Shard, van: str) -> str:
    reading = {"signal": "soc_percent", "value": 50.0, "observed_at": datetime.now(UTC).isoformat()}
    update = {
        "workspace_id": DEPOT,
        "provider_id": DEPOT_PROVIDER,
        "device_id": van,
        "readings": [reading],
    }
    answer = await shard.client.post(f"{PREFIX}/ingest", json={"updates": [update]})
    return str(answer.json()["results"][0]["outcome"])


async def _assert_told(shard: Shard, workspace_id: str) -> None:
    ready = await shard.get("/readyz")
    assert (ready.status_code, ready.json()["collecting_paused"]) == (200, True)
    assert (await shard.runtime())["shard"]["paused"] is True
    report = (await shard.get(f"{PREFIX}/workspaces/{workspace_id}/health")).json()
    for item in report["items"]:
        cause = item["evidence"]["causes"][0]
        assert (item["reason"], item["party"]) == ("collector_late", "ours")
        assert "--paused" in cause["detail"]
        assert item["evidence"]["next_poll_at"] is None
    cycles = (await shard.get(f"{PREFIX}/workspaces/{workspace_id}/cycles")).json()
    assert cycles["items"] == []
    for when in ("now", "next_start"):
        refused = await shard.client.post(
            f"{PREFIX}/workspaces/{workspace_id}/cycles", json={"when": when}
        )
        assert refused.status_code == 409, refused.text
        assert "--paused" in refused.json()["detail"]


async def _tables(shard: Shard, key: str, workspace_id: str) -> bool:
    environment = {
        "LASTHEARD_ADDRESS": f"http://127.0.0.1:{shard.port}",
        "LASTHEARD_KEY": "env:THE_KEY",
        "THE_KEY": key,
    }
    commands = (("runtime",), ("health", workspace_id), ("worklist",))
    children: list[Child] = [
        await run_lastheard(*command, environment=environment) for command in commands
    ]
    said = [child.out for child in children]
    assert "live, paused" in said[0], said[0]
    assert "collecting is paused" in said[1], said[1]
    return True


async def _wait_healthy(shard: Shard, workspace_id: str) -> None:
    with trio.fail_after(60):
        while True:
            report = (await shard.get(f"{PREFIX}/workspaces/{workspace_id}/health")).json()
            if any(item["state"] == "healthy" for item in report["items"]):
                return
            await trio.sleep(0.3)
