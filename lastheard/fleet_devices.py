"""The devices of a workspace in a file against the stored ones.

Owns the batches in which devices are imported, and the mistakes that only show beside what is
stored: a connection that is nowhere, a unit of two devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.identity import external_key
from lastheard.fleet_faults import FleetFault
from lastheard.fleet_state import path_of
from lastheard.fleet_steps import FleetChange, FleetPlan, FleetStep, describe_difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lastheard.fleet_model import FleetDevice, FleetWorkspace
    from lastheard.fleet_state import StoredWorkspace, TypeFacts

BATCH = 1000
_COMPARED = ("vehicle_name", "external_id", "vehicle_id", "provider_id", "tags", "overrides")


def plan_devices(
    plan: FleetPlan,
    wanted: FleetWorkspace,
    stored: StoredWorkspace | None,
    types: Mapping[str, TypeFacts],
    *,
    prune: bool,
) -> None:
    """Add to the plan what the devices need.

    Devices that get another unit or vehicle are one batch, because they may exchange their units.
    """
    present = {} if stored is None else stored.devices
    named = {device.id for device in wanted.devices}
    unnamed = [one for one in present.values() if one["active"] and one["device_id"] not in named]
    is_vin = _vins(wanted, stored, types, prune=prune)
    plan.faults += _unconnected(wanted, is_vin)
    plan.faults += _shared_units(wanted, [] if prune else unnamed, is_vin)
    if prune:
        _retire(plan, wanted.id, unnamed)
    else:
        plan.kept["devices"] = len(unnamed)
    swapped: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for device in wanted.devices:
        body = _body_of(device, present.get(device.id))
        vins = is_vin.get(device.connection, False)
        if change := _compare(wanted.id, body, present.get(device.id), ids_are_vins=vins):
            plan.changes.append(change)
            (swapped if change.kind == "swap of device" else others).append(body)
    for batch in ([swapped] if swapped else []), _batches(others):
        plan.steps += [_import(wanted.id, devices) for devices in batch]


def _vins(
    wanted: FleetWorkspace,
    stored: StoredWorkspace | None,
    types: Mapping[str, TypeFacts],
    *,
    prune: bool,
) -> dict[str, bool]:
    """Return the connections that devices may name, and whether the external ids are VINs."""
    present = {} if stored is None or prune else stored.connections
    known = {one: tagged.body["provider_type"] for one, tagged in present.items()}
    known |= {connection.id: connection.type for connection in wanted.connections}
    return {one: kind in types and types[kind].ids_are_vins for one, kind in known.items()}


def _unconnected(wanted: FleetWorkspace, is_vin: Mapping[str, bool]) -> Iterator[FleetFault]:
    for index, device in enumerate(wanted.devices):
        if device.connection not in is_vin:
            detail = (
                f"there is no connection {device.connection} in this workspace, neither in the "
                "file nor stored: correct the name, or add the connection"
            )
            yield FleetFault(("devices", index, "connection"), detail)


def _shared_units(
    wanted: FleetWorkspace, others: Iterable[Mapping[str, Any]], is_vin: Mapping[str, bool]
) -> Iterator[FleetFault]:
    """Yield each device whose unit another device has, in the file or stored."""

    def unit(connection: str, external_id: str) -> tuple[str, str]:
        return connection, external_key(external_id, is_vin=is_vin.get(connection, False))

    holders = {unit(one["provider_id"], one["external_id"]): one["device_id"] for one in others}
    for index, device in enumerate(wanted.devices):
        holder = holders.setdefault(unit(device.connection, device.external_id), device.id)
        if holder != device.id:
            detail = (
                f"device {holder} has this unit: give each unit to one device, or retire {holder}"
            )
            yield FleetFault(("devices", index, "external_id"), detail)


def _retire(plan: FleetPlan, workspace_id: str, unnamed: Iterable[Mapping[str, Any]]) -> None:
    for one in unnamed:
        name, vehicle = f"{workspace_id}/{one['device_id']}", one["vehicle_name"]
        plan.changes.append(FleetChange("-", "device", name, f"retire ({vehicle})"))
        path = path_of(workspace_id, "devices", one["device_id"])
        seen = {"If-Match": f'"{one["revision"]}"'}
        plan.steps.append(FleetStep("DELETE", path, None, seen, devices=1))


def _body_of(device: FleetDevice, present: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the device as the import takes it, for the revision that was read."""
    return {
        "revision": 0 if present is None else present["revision"],
        "device_id": device.id,
        "provider_id": device.connection,
        "external_id": device.external_id,
        "vehicle_id": device.vehicle_id,
        "vehicle_name": device.vehicle_name,
        "tags": device.tags,
        "overrides": device.overrides.model_dump(),
    }


def _compare(
    workspace_id: str,
    body: dict[str, Any],
    present: Mapping[str, Any] | None,
    *,
    ids_are_vins: bool,
) -> FleetChange | None:
    """Return the change that the device is, or None if it is stored as it is."""
    name = f"{workspace_id}/{body['device_id']}"
    if present is None:
        return FleetChange("+", "device", name, body["vehicle_name"])
    if not present["active"]:
        return FleetChange("+", "device", name, f"activate again ({body['vehicle_name']})")
    difference = describe_difference(present, {key: body[key] for key in _COMPARED})
    if not difference:
        return None
    moved = _place_of(present, ids_are_vins) != _place_of(body, ids_are_vins)
    return FleetChange("~", "swap of device" if moved else "device", name, difference)


def _place_of(body: Mapping[str, Any], ids_are_vins: bool) -> tuple[str, str, str]:
    """Return the unit and the vehicle of a device: those that a swap changes."""
    unit = external_key(body["external_id"], is_vin=ids_are_vins)
    return body["provider_id"], unit, body["vehicle_id"].strip()


def _batches(devices: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    return [devices[start : start + BATCH] for start in range(0, len(devices), BATCH)]


def _import(workspace_id: str, devices: Sequence[dict[str, Any]]) -> FleetStep:
    path = path_of(workspace_id, "devices", "import")
    return FleetStep("POST", path, {"devices": devices}, devices=len(devices))
