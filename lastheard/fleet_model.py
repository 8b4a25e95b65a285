"""A fleet as a file says it: workspaces with their connections and devices.

Owns the names of the file, and what can be judged without the service. The limits of ids, names and
thresholds are those of the API. What only the installation knows (its provider types, the addresses
and secrets that it allows) is judged by the API itself.
"""

import math
from typing import Annotated, Any, Final

import orjson
from pydantic import AfterValidator, Field, PlainValidator

from api.bodies import RequestModel
from api.device_import import DeviceId
from api.provider_body import CredentialReference
from api.shapes import NO_OVERRIDES, ExternalId, Identifier, Name, Overrides, Seconds, VehicleId
from api.tags import Tags
from api.time_zones import TimeZone
from domain.model import Transport
from domain.registry import MAX_INTERVAL_SECONDS

NO_OFFSET: Final = "auto"  # `start_offset = "auto"`: the service spreads the starts
NO_PERIOD = 0  # `expected_update_seconds = 0`: none, though the provider type states one


def _refuse_formless(settings: dict[str, Any]) -> dict[str, Any]:
    """Refuse what TOML has and JSON has not: dates, nan, inf, and integers above 64 bits."""
    try:
        orjson.dumps(settings, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except (TypeError, ValueError):
        raise ValueError("a date or a number above 64 bits is written as text") from None
    if _has_infinity(settings):
        raise ValueError("nan and inf are no values of a setting")
    return settings


def _has_infinity(value: object) -> bool:
    match value:
        case dict():
            return any(map(_has_infinity, value.values()))
        case list():
            return any(map(_has_infinity, value))
        case float():
            return not math.isfinite(value)
        case _:
            return False


def _refuse_no_offset(value: object) -> int | str:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if value == NO_OFFSET or (is_whole and value in range(MAX_INTERVAL_SECONDS)):
        return value  # type: ignore[return-value]
    raise ValueError(
        f"write a whole number of seconds below the interval, or {NO_OFFSET!r} for none"
    )


StartOffset = Annotated[int | str, PlainValidator(_refuse_no_offset)]
Settings = Annotated[dict[str, Any], AfterValidator(_refuse_formless)]
Period = Annotated[float, Field(ge=NO_PERIOD, le=31_536_000)]


class FleetPolicy(RequestModel):
    """The thresholds of a workspace, in seconds. What is left out stays as it is."""

    freshness_target_seconds: Seconds | None = None
    delayed_after_seconds: Seconds | None = None
    stale_after_seconds: Seconds | None = None
    grace_seconds: Seconds | None = None


class FleetConnection(RequestModel):
    """A connection. `active` and `expected_update_seconds` stay as they are if they are left out.

    What else is left out gets its default.
    """

    id: Identifier
    type: Annotated[str, Field(max_length=64)]
    transport: Transport
    base_url: str = Field("", max_length=2000)
    credential: CredentialReference | None = None
    active: bool | None = None
    expected_update_seconds: Period | None = None
    simulated: bool = False
    overrides: Overrides = NO_OVERRIDES
    settings: Settings = Field(default_factory=dict)


class FleetDevice(RequestModel):
    """A device in its vehicle, under the external id that its provider gives it."""

    id: DeviceId
    connection: Identifier
    external_id: ExternalId
    vehicle_id: VehicleId
    vehicle_name: Name
    tags: Tags = Field(default_factory=list)
    overrides: Overrides = NO_OVERRIDES


class FleetWorkspace(RequestModel):
    """A workspace.

    What is left out stays as it is: `active`, `time_zone`, `interval`, `start_offset`, `policy`.
    """

    id: Identifier
    name: Name
    active: bool | None = None
    time_zone: TimeZone | None = None
    interval: int | None = Field(None, description="poll interval, in seconds")
    start_offset: StartOffset | None = Field(None, description="of its starts, in seconds")
    policy: FleetPolicy = FleetPolicy()
    connections: list[FleetConnection] = Field(default_factory=list)
    devices: list[FleetDevice] = Field(default_factory=list)


class FleetDocument(RequestModel):
    """All that one file says."""

    workspaces: list[FleetWorkspace] = Field(min_length=1)
