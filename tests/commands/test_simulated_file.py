"""`lastheard simulate --fleet-file`: the file that collects from the simulated fleets."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import orjson
import pytest
import trio

from lastheard.fleet_file import read_fleet
from tests.commands.fleet_service import open_service
from tests.processes.child import LASTHEARD, open_child, run_lastheard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.fleet_service import FleetService
    from tests.conftest import Stores

FLEETS = ("--devices", "4", "--tenants", "2", "--rfms-tenants", "1")


@pytest.mark.processes
@pytest.mark.postgres
async def test_the_file_of_a_simulator_collects_from_it(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    file, secrets = tmp_path / "fleet.toml", tmp_path / "credentials"
    settings = {"LASTHEARD_CREDENTIALS_DIR": str(secrets)}
    flags = (*FLEETS, "--fleet-file", str(file))
    async with open_child(*LASTHEARD, "simulate", *flags, environment=settings) as simulator:
        await simulator.wait_for_output("\n")
        tenants = orjson.loads(simulator.out)["tenants"]
        assert all(tenant["credential"] not in file.read_text() for tenant in tenants)
        fleet = read_fleet(file).workspaces
        addresses = [workspace.connections[0].base_url for workspace in fleet]
        assert sorted(addresses) == sorted(tenant["base_url"] for tenant in tenants)
        streamed = next(one.id for one in fleet if one.connections[0].transport == "stream")
        async with open_service(dsn, postgres_stores, credentials_dir=str(secrets)) as service:
            assert (await service.apply(file))[-1].startswith("applied: ")
            report = await service.read(f"/workspaces/{streamed}/health")
            assert report["time_zone"] == "Europe/Amsterdam"
            assert {tag for item in report["items"] for tag in item["tags"]} <= {"line", "parked"}
            assert all(item["tags"] for item in report["items"])
            with trio.fail_after(30):
                while not await _healthy(service, streamed):  # noqa: ASYNC110
                    await trio.sleep(0.2)
        simulator.send(signal.SIGTERM)
        assert await simulator.wait_ended() == 0


async def _healthy(service: FleetService, workspace_id: str) -> int:
    report = await service.read(f"/workspaces/{workspace_id}/health")
    return sum(item["state"] == "healthy" for item in report["items"])


@pytest.mark.processes
async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "no-folder" / "fleet.toml"
    settings = {"LASTHEARD_CREDENTIALS_DIR": str(tmp_path)}
    child = await run_lastheard("simulate", "--fleet-file", str(file), environment=settings)
    assert (child.exit_code, child.out) == (69, "")
    assert f"{file} cannot be written: No such file or directory" in child.errors
    assert "Traceback" not in child.errors
