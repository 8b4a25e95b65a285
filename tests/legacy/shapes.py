"""A legacy system's shape and answers, small enough to be read in a test."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

SHAPE: Final[dict[str, Any]] = {
    "registry": {
        "path": "/fleets/{workspace_id}/vehicles",
        "items": "vehicles",
        "device_id": "id",
        "provider_id": "'viriciti'",
        "external_id": "unit",
        "vehicle_id": "number",
        "vehicle_name": "name",
    },
    "values": {
        "path": "/fleets/{workspace_id}/state",
        "items": "state",
        "device_id": "id",
        "received_at": "seen",
        "observed_at": "at",
        "signals": {
            "soc_percent": {"value": "soc", "unit": "fraction"},
            "odometer_km": {"value": "odo", "unit": "m", "observed_at": "odo_at"},
            "latitude_deg": {"value": "lat"},
            "longitude_deg": {"value": "lon"},
            "charging": {"value": "mode && mode == 'charging'"},
            "charging_complete_at": {"value": "ready"},
        },
    },
}
VEHICLE: Final = {"id": "bus-1", "unit": "u-1", "number": 17, "name": "Bus 17"}
STATE: Final = {
    "id": "bus-1",
    "seen": "2026-05-01T10:00:05Z",
    "at": "2026-05-01T10:00:00Z",
    "soc": 0.5,
    "odo": 12_500,
    "odo_at": "2026-05-01T09:00:00Z",
    "lat": 52.1,
    "lon": 5.1,
    "mode": "charging",
    "ready": "2026-05-01T13:00:00+02:00",
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the shape with one member replaced; `path` is its JSON Pointer."""
    shape = deepcopy(SHAPE)
    *parents, last = path.strip("/").split("/")
    place = shape
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return shape


def without(path: str) -> dict[str, Any]:
    """Return the shape without one member."""
    shape = changed(path, None)
    *parents, last = path.strip("/").split("/")
    place = shape
    for parent in parents:
        place = place[parent]
    del place[last]
    return shape
