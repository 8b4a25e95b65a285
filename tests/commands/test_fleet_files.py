"""`lastheard apply` and `lastheard export` with real processes and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from domain.registry import DeviceDraft
from lastheard.demo import POLICY, POLL_INTERVAL_SECONDS
from lastheard.simulation import configure_fleet, run_simulator
from tests.commands.fleet_service import open_empty_service, open_service
from tests.conftest import database_copied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from domain.registry import Stored
    from tests.commands.fleet_service import FleetService
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

DEPOT = """
[[workspaces]]
id = "depot"
name = "Depot"

[[workspaces.connections]]
id = "live"
type = "push"
transport = "push"

[[workspaces.devices]]
id = "bus-1"
connection = "live"
external_id = "x-1"
vehicle_id = "v-1"
vehicle_name = "Bus 1"

[[workspaces.devices]]
id = "bus-2"
connection = "live"
external_id = "x-2"
vehicle_id = "v-2"
vehicle_name = "Bus 2"
"""


@pytest.fixture
def other_dsn(postgres_server: str, postgres_template: str) -> Iterator[str]:
    with database_copied(postgres_server, postgres_template) as dsn:
        yield dsn


@pytest.fixture
async def service(dsn: str, postgres_stores: Stores) -> AsyncIterator[FleetService]:
    async with open_service(dsn, postgres_stores) as service:
        yield service


async def _configure_demo(service: FleetService, folder: Path) -> None:
    """Configure the fleets of `lastheard demo`, as it does it."""
    async with run_simulator("--demo") as simulated:
        for tenant in simulated.tenants:
            await configure_fleet(
                service.stores.registry,
                simulated,
                tenant,
                credentials_dir=folder,
                policy=POLICY,
                poll_interval_seconds=POLL_INTERVAL_SECONDS,
            )


async def _give_zone_and_tags(service: FleetService) -> None:
    """Give one workspace a zone and one device tags, beside the others, which have none."""
    registry = service.stores.registry
    await registry.put_workspace("harbour", name="Harbour", time_zone="Europe/Berlin")
    first, *_ = await registry.list_devices("harbour", include_retired=False, after=None, limit=1)
    tagged = DeviceDraft(
        device_id=first.device_id,
        provider_id=first.provider_id,
        external_id=first.external_id,
        vehicle_id=first.vehicle_id,
        vehicle_name=first.vehicle_name,
        tags=('"hall" 3, north', "=depot", "Straße 北"),
    )
    (answer,) = cast("list[Stored]", await registry.put_devices("harbour", [tagged]))
    assert answer.revision == 2


async def test_the_demos_fleet_moves_to_an_empty_database(
    service: FleetService, other_dsn: str, tmp_path: Path
) -> None:
    """An export, applied to an empty database, is exported as the same bytes."""
    await _configure_demo(service, tmp_path)
    await _give_zone_and_tags(service)
    exported = await service.export()
    assert exported.count('time_zone = "Europe/Berlin"') == 1
    assert exported.count("tags = [") == 1
    assert exported.count("[[workspaces]]") == 5
    assert exported.count("[[workspaces.devices]]") > 40
    file = tmp_path / "fleet.toml"
    file.write_text(exported)
    async with open_empty_service(other_dsn) as empty:
        applied = await empty.apply(file)
        assert (await empty.export()).encode() == exported.encode()
        assert await empty.apply(file) == ["no change"]
    assert applied[0] == "+ workspace harbour: Harbour"
    assert applied[-1].startswith("applied: ")
    assert await service.apply(file) == ["no change"]


async def test_a_changed_file_changes_that_alone(service: FleetService, tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(DEPOT)
    await service.apply(file)
    before = await service.export()
    changed = (
        DEPOT.replace('"Depot"', '"Depot North"')
        .replace('external_id = "x-1"', 'external_id = "x-9"')
        .replace('"Bus 2"', '"Bus two"')
    )
    file.write_text(changed)
    difference = [
        '~ workspace depot: name "Depot" -> "Depot North"',
        '~ swap of device depot/bus-1: external_id "x-1" -> "x-9"',
        '~ device depot/bus-2: vehicle_name "Bus 2" -> "Bus two"',
    ]
    assert await service.apply(file, "--dry-run") == difference
    assert await service.export() == before
    assert await service.apply(file) == [*difference, "applied: 3 changes"]
    assert (await service.read("/workspaces/depot/devices/bus-1"))["assignment"] == 2
    assert (await service.read("/workspaces/depot/devices/bus-2"))["assignment"] == 1
    after = await service.export()
    assert set(after.splitlines()) - set(before.splitlines()) == {
        'name = "Depot North"',
        'external_id = "x-9"',
        'vehicle_name = "Bus two"',
    }


async def test_what_a_file_does_not_name_stays(service: FleetService, tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(DEPOT + DEPOT.replace('"depot"', '"other"').replace('"live"', '"spare"'))
    await service.apply(file)
    file.write_text(DEPOT.partition("\n[[workspaces.connections]]")[0])
    assert await service.apply(file) == ["no change"]
    assert await service.apply(file, "--prune", "--switch-off") == [
        "- device depot/bus-1: retire (Bus 1)",
        "- device depot/bus-2: retire (Bus 2)",
        "- connection depot/live: archive",
        "- workspace other: switch off",
        "applied: 4 changes",
    ]
    assert (await service.read("/workspaces/depot/devices"))["items"] == []
    assert (await service.read("/workspaces/depot/providers/live"))["archived_at"] is not None
    assert not (await service.read("/workspaces/other"))["active"]
    assert len((await service.read("/workspaces/other/devices"))["items"]) == 2


async def test_units_change_places_in_one_file(service: FleetService, tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(DEPOT)
    await service.apply(file)
    file.write_text(DEPOT.replace('"x-1"', '"x-0"').replace('"x-2"', '"x-1"').replace("x-0", "x-2"))
    assert (await service.apply(file))[-1] == "applied: 2 changes"
    assert await service.apply(file) == ["no change"]
