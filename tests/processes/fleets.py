"""The data for these tests: simulated fleets, and a depot whose data only a client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from api.keys import Scope, mint_key
from domain.model import Policy, ProviderConnection
from domain.registry import DeviceDraft
from lastheard.simulation import configure_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lastheard.simulation import Simulated
    from tests.conftest import Stores

DEPOT = "depot"
DEPOT_PROVIDER = "telemetry"
POLL_INTERVAL_SECONDS = 3


async def make_key(stores: Stores) -> str:
    """Make a key that opens everything."""
    record, key = mint_key("test", list(Scope), None, None)
    await stores.keys.create_key(record)
    return key


async def make_depot(stores: Stores, devices: int) -> Sequence[str]:
    """Make a workspace that no shard collects for. Returns its device ids."""
    await stores.registry.put_workspace(
        DEPOT, name="Depot", active=True, poll_interval_seconds=3600, policy=Policy()
    )
    await stores.registry.put_provider(
        ProviderConnection(
            DEPOT, DEPOT_PROVIDER, "rfms", "poll", "http://127.0.0.1:9", None, active=False
        )
    )
    ids = [f"van-{number:03d}" for number in range(devices)]
    drafts = [
        DeviceDraft(
            device_id=name,
            provider_id=DEPOT_PROVIDER,
            external_id=name,
            vehicle_id=f"v-{name}",
            vehicle_name=name,
        )
        for name in ids
    ]
    await stores.registry.put_devices(DEPOT, drafts)
    return ids


async def make_fleets(stores: Stores, simulated: Simulated, folder: Path) -> None:
    """Make a workspace for each simulated tenant."""
    for tenant in simulated.tenants:
        await configure_fleet(
            stores.registry,
            simulated,
            tenant,
            credentials_dir=folder,
            policy=Policy(),
            poll_interval_seconds=POLL_INTERVAL_SECONDS,
        )


async def ask_simulator(simulated: Simulated, path: str) -> Any:
    async with httpx.AsyncClient(
        base_url=simulated.http_url, timeout=10.0, trust_env=False
    ) as client:
        answer = await client.get(path)
        answer.raise_for_status()
        return answer.json()
