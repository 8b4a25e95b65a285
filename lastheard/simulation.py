"""The simulator as a child process, and a simulated fleet as configuration.

Owns the child process and the mapping from its tenants to workspaces. The child has a process
session of its own, so that Ctrl-C reaches this process only; it ends with its parent in any case.
The demo, the tests and the benchmarks use this module.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
import trio

from domain.model import Policy, ProviderConnection
from domain.registry import DeviceDraft, NotFound
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ports.registry import Registry

READY_BUDGET_SECONDS = 30.0
STOP_BUDGET_SECONDS = 5.0
RFMS_VEHICLES = "application/json; rfms=vehicles.v4.0"


class SimulatedFleet(NamedTuple):
    """One simulated fleet, with its provider and credential."""

    name: str
    provider: str
    base_url: str
    credential: str


@dataclass(frozen=True, slots=True)
class Simulated:
    """A running simulator: its addresses, its process and its fleets.

    `legacy_credential` is that of its legacy system at `http_url`; None without such a system.
    """

    http_url: str
    ws_url: str
    pid: int
    tenants: tuple[SimulatedFleet, ...]
    legacy_credential: str | None = None


class SimulatorFailed(EnvironmentFault):
    """The simulator ended, or printed nothing in time, before it was ready."""


@asynccontextmanager
async def run_simulator(*flags: str) -> AsyncIterator[Simulated]:
    """Run `python -m simulator` with these flags for the length of the block.

    Its standard error is this process's. Raises SimulatorFailed. It is terminated at the end, and
    killed after STOP_BUDGET_SECONDS.
    """
    command = [sys.executable, "-m", "simulator", "--exit-with-parent", str(os.getpid()), *flags]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield await _wait_ready(process)
    finally:
        with trio.move_on_after(STOP_BUDGET_SECONDS, shield=True):
            process.terminate()
            await process.wait()
        if process.returncode is None:
            process.kill()
            with trio.move_on_after(STOP_BUDGET_SECONDS, shield=True):
                await process.wait()


async def _wait_ready(process: trio.Process) -> Simulated:
    line = b""
    with trio.move_on_after(READY_BUDGET_SECONDS):
        while not line.endswith(b"\n") and process.stdout is not None:
            chunk = await process.stdout.receive_some()
            if not chunk:
                break
            line += chunk
    if not line.endswith(b"\n"):
        raise SimulatorFailed(
            f"the simulator was not ready within {READY_BUDGET_SECONDS:.0f} s; see its messages "
            "above"
        )
    facts = orjson.loads(line)
    tenants = tuple(
        SimulatedFleet(t["name"], t["provider"], t["base_url"], t["credential"])
        for t in facts["tenants"]
    )
    legacy_credential = facts.get("legacy", {}).get("credential")
    return Simulated(facts["http_url"], facts["ws_url"], facts["pid"], tenants, legacy_credential)


async def list_vehicles(simulated: Simulated, tenant: SimulatedFleet) -> list[tuple[str, str]]:
    """Return (external_id, vehicle_name) of a tenant's vehicles, as the provider lists them."""
    async with httpx.AsyncClient(
        base_url=simulated.http_url, timeout=10.0, trust_env=False
    ) as client:
        if tenant.provider == "viriciti":
            answer = await client.get("/api/v1/my/assets", headers={"x-api-key": tenant.credential})
            return [(asset["vid"], asset["name"]) for asset in _body(answer)]
        headers = {"authorization": f"Bearer {tenant.credential}", "accept": RFMS_VEHICLES}
        vehicles: list[tuple[str, str]] = []
        while True:
            last = {"lastVin": vehicles[-1][0]} if vehicles else {}
            answer = await client.get("/rfms/vehicles", headers=headers, params=last)
            page = _body(answer)
            found = page["vehicleResponse"]["vehicles"]
            vehicles += [
                (each["vin"], each.get("customerVehicleName") or each["vin"]) for each in found
            ]
            if not page.get("moreDataAvailable") or not found:
                return vehicles


def _body(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return orjson.loads(answer.content)


async def configure_fleet(
    registry: Registry,
    simulated: Simulated,
    tenant: SimulatedFleet,
    *,
    credentials_dir: Path,
    policy: Policy,
    poll_interval_seconds: int,
) -> int:
    """Configure a tenant as a workspace: its connection, its credential's file, its devices.

    The devices are activated now. Return their number.
    """
    workspace_id = tenant.name
    await registry.put_workspace(
        workspace_id,
        name=tenant.name.title(),
        active=True,
        poll_interval_seconds=poll_interval_seconds,
        policy=policy,
    )
    await registry.put_provider(
        ProviderConnection(
            workspace_id=workspace_id,
            provider_id=tenant.provider,
            provider_type=tenant.provider,
            transport="stream" if tenant.provider == "viriciti" else "poll",
            base_url=tenant.base_url,
            credential=write_secret(credentials_dir / tenant.name, tenant.credential),
        )
    )
    vehicles = await list_vehicles(simulated, tenant)
    await _retire_all(registry, workspace_id)
    drafts = [
        DeviceDraft(
            device_id=external_id,
            provider_id=tenant.provider,
            external_id=external_id,
            vehicle_id=f"vehicle-{external_id}",
            vehicle_name=name,
        )
        for external_id, name in vehicles
    ]
    results = await registry.put_devices(workspace_id, drafts)
    if not isinstance(results, list):
        state = "vanished while it was configured" if isinstance(results, NotFound) else "archived"
        raise SimulatorFailed(f"workspace {workspace_id} is {state}")
    return len(drafts)


async def _retire_all(registry: Registry, workspace_id: str) -> None:
    """Retire the devices of an earlier run, so that their grace begins when they are put again."""
    for device in await registry.list_devices(
        workspace_id, include_retired=False, after=None, limit=10_000
    ):
        await registry.retire_device(workspace_id, device.device_id)


def write_secret(path: Path, secret: str) -> str:
    """Write a credential's file, which only its owner may read, and return the reference to it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(secret)
    return f"file:{path.resolve()}"
