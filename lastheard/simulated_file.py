"""A simulated fleet as a fleet file: `lastheard simulate --fleet-file`.

Owns the file and the secrets that it refers to. A credential that the simulator made up is a secret
like any other: it is written into the folder of credentials, and the file has the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastheard.fleet_model import NO_PERIOD, FleetConnection, FleetDevice, FleetWorkspace
from lastheard.fleet_text import write_fleet
from simulator.config import Vendor
from simulator.server import CannotStart

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.config import Tenant
    from simulator.fleet import VehicleSpec
    from simulator.server import Simulator

TIME_ZONE = "Europe/Amsterdam"  # simulated vehicles drive around Utrecht


def write_simulated_fleet(simulator: Simulator, path: Path, credentials: Path) -> None:
    """Write the file with all fleets of the simulator, and their secrets. Raises CannotStart."""
    tenants = [provider.tenant for provider in simulator.providers]
    fleet = [_workspace_of(tenant, simulator.base_url_of(tenant)) for tenant in tenants]
    try:
        for tenant in tenants:
            _write_secret(credentials / _secret_of(tenant), tenant.credential)
        path.write_text(write_fleet(fleet), encoding="utf-8")
    except OSError as error:
        raise CannotStart(
            f"{error.filename or path} cannot be written: {error.strerror}"
        ) from error


def _workspace_of(tenant: Tenant, base_url: str) -> FleetWorkspace:
    vendor = str(tenant.vendor)
    connection = FleetConnection(
        id=vendor,
        type=vendor,
        transport="stream" if tenant.vendor is Vendor.VIRICITI else "poll",
        base_url=base_url,
        credential=f"file:{_secret_of(tenant)}",
        # Not marked as simulated: the provider mode of a new workspace asks real connections only.
        # The simulated vendors keep no promise of their documents.
        expected_update_seconds=NO_PERIOD,
    )
    return FleetWorkspace(
        id=tenant.name,
        name=tenant.name.title(),
        time_zone=TIME_ZONE,
        connections=[connection],
        devices=[_device_of(vehicle, vendor) for vehicle in tenant.vehicles],
    )


def _device_of(vehicle: VehicleSpec, connection: str) -> FleetDevice:
    return FleetDevice(
        id=vehicle.vehicle_id,
        connection=connection,
        external_id=vehicle.vehicle_id,
        vehicle_id=f"vehicle-{vehicle.vehicle_id}",
        vehicle_name=vehicle.name,
        tags=[str(vehicle.duty)],
    )


def _secret_of(tenant: Tenant) -> str:
    """Return the secret's path within the folder of credentials.

    Keys that are limited to workspaces may name files in a folder with the workspace's name.
    """
    return f"{tenant.name}/{tenant.vendor}"


def _write_secret(path: Path, secret: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(secret)
