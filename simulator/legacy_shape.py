"""The shape of the simulated legacy system, as a workspace's cutover takes it (docs/cutover.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SHAPE: Final[Mapping[str, Any]] = {
    "credential_header": {"name": "X-Legacy-Token", "form": "{secret}"},
    "registry": {
        "path": "/legacy/{workspace_id}/vehicles",
        "items": "data.vehicles",
        "paging": {"next_link": "next"},
        "device_id": "id",
        "provider_id": "source",
        "external_id": "unit",
        "vehicle_id": "vehicle.number",
        "vehicle_name": "vehicle.label",
    },
    "values": {
        "path": "/legacy/{workspace_id}/state",
        "items": "data.state",
        "paging": {"next_link": "next"},
        "device_id": "id",
        "received_at": "lastSeen",
        "time_format": "epoch_milliseconds",
        "signals": {
            "soc_percent": {
                "value": "battery.level",
                "unit": "fraction",
                "observed_at": "battery.at",
            },
            "odometer_km": {"value": "odometer.metres", "unit": "m", "observed_at": "odometer.at"},
            "speed_kmh": {
                "value": "speed.metresPerSecond",
                "unit": "m/s",
                "observed_at": "speed.at",
            },
            "power_kw": {"value": "power.watts", "unit": "W", "observed_at": "power.at"},
            "latitude_deg": {"value": "position.lat", "observed_at": "position.at"},
            "longitude_deg": {"value": "position.lng", "observed_at": "position.at"},
            "charging": {
                "value": "charging.state && charging.state == 'CHARGING'",
                "observed_at": "charging.at",
            },
        },
    },
}
