"""The signal catalogue: what a vehicle can tell, in which unit, within which limits, and for how long it counts.

Owns the names, units and ranges of every canonical signal, and the check of one value. Knows no provider's labels:
those are mapped in providers/*/wire.py. A name that is not in here cannot enter a snapshot.
"""

from __future__ import annotations

import math
from sys import float_info
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import Value

MAX_TEXT_LENGTH = 64

_QUARTER_HOUR = 900.0
_HOUR = 3600.0
_SHIFT = 6 * _HOUR


class Signal(NamedTuple):
    """One entry. `minimum` and `maximum` are inclusive and None for text and booleans.

    `old_after_seconds` is the age past which the value is marked old; scaled and raised by domain.health where a
    provider reports rarely. `vss_path` is the COVESA Vehicle Signal Specification leaf of the same meaning, None when
    there is none; the specification's unit may differ (it counts distances in metres below the odometer, power in W).
    """

    name: str
    unit: str
    kind: Literal["number", "boolean", "text"]
    minimum: float | None
    maximum: float | None
    old_after_seconds: float
    vss_path: str | None
    description: str


class InvalidValue(NamedTuple):
    """Expected: this value cannot stand for the signal. `why` is plain ASCII of our own, fit to be stored."""

    why: str


_BATTERY = "Vehicle.Powertrain.TractionBattery"
_PLACE = "Vehicle.CurrentLocation"


def _number(
    name: str, unit: str, limits: tuple[float, float], old_after: float, vss_path: str | None, description: str
) -> Signal:
    return Signal(name, unit, "number", limits[0], limits[1], old_after, vss_path, description)


def _boolean(name: str, old_after: float, vss_path: str | None, description: str) -> Signal:
    return Signal(name, "", "boolean", None, None, old_after, vss_path, description)


def _text(name: str, old_after: float, vss_path: str | None, description: str) -> Signal:
    return Signal(name, "", "text", None, None, old_after, vss_path, description)


# Limits refuse what no vehicle can mean (a sensor's "not available" code, a wrong unit), not what is merely unusual.
# Old ages: what moves with the vehicle 15 minutes, what moves with its battery an hour, counters and what is sent
# only on a change six hours.
_SIGNALS = (
    _number(
        "soc_percent",
        "%",
        (0, 100),
        _HOUR,
        f"{_BATTERY}.StateOfCharge.Current",
        "State of charge of the traction battery.",
    ),
    _number("odometer_km", "km", (0, 10_000_000), _SHIFT, "Vehicle.TraveledDistance", "Total distance driven."),
    _number("speed_kmh", "km/h", (0, 250), _QUARTER_HOUR, "Vehicle.Speed", "Speed over ground or by the wheels."),
    _number(
        "power_kw",
        "kW",
        (-2_000, 2_000),
        _QUARTER_HOUR,
        f"{_BATTERY}.CurrentPower",
        "Power drawn from the traction battery; negative flows into it. VSS counts the other way round.",
    ),
    _number("latitude_deg", "deg", (-90, 90), _QUARTER_HOUR, f"{_PLACE}.Latitude", "WGS 84 latitude."),
    _number("longitude_deg", "deg", (-180, 180), _QUARTER_HOUR, f"{_PLACE}.Longitude", "WGS 84 longitude."),
    _number("heading_deg", "deg", (0, 360), _QUARTER_HOUR, f"{_PLACE}.Heading", "Course, clockwise from north."),
    _number("altitude_m", "m", (-500, 9_000), _QUARTER_HOUR, f"{_PLACE}.Altitude", "Height above sea level."),
    _boolean("charging", _HOUR, f"{_BATTERY}.Charging.IsCharging", "Energy flows from a charger into the vehicle."),
    _text("charging_status", _HOUR, None, "The provider's own word for what charging is doing."),
    _boolean(
        "plugged_in",
        _SHIFT,
        f"{_BATTERY}.Charging.ChargingPort.AnyPosition.IsChargingCableConnected",
        "A charging connector is attached.",
    ),
    _number("charging_power_kw", "kW", (0, 5_000), _HOUR, None, "Power that the charger delivers now."),
    _text("charging_complete_at", _HOUR, None, "When charging is expected to end: RFC 3339, UTC."),
    _number("range_km", "km", (0, 3_000), _HOUR, f"{_BATTERY}.Range", "Distance left on the traction battery."),
    _number(
        "total_energy_used_kwh",
        "kWh",
        (0, 100_000_000),
        _SHIFT,
        f"{_BATTERY}.AccumulatedConsumedEnergy",
        "Electric energy used since the vehicle was new.",
    ),
    _number(
        "energy_used_today_kwh",
        "kWh",
        (-10_000, 10_000),
        _SHIFT,
        None,
        "Electric energy used since the vehicle's local midnight: it starts again at 0, and recuperation lowers it.",
    ),
    _number(
        "distance_today_km",
        "km",
        (0, 5_000),
        _SHIFT,
        None,
        "Distance driven since the vehicle's local midnight: it starts again at 0.",
    ),
    _number(
        "battery_voltage_v",
        "V",
        (0, 2_000),
        _HOUR,
        f"{_BATTERY}.CurrentVoltage",
        "Voltage of the traction battery.",
    ),
    _number(
        "battery_current_a",
        "A",
        (-5_000, 5_000),
        _QUARTER_HOUR,
        f"{_BATTERY}.CurrentCurrent",
        "Current drawn from the traction battery; negative flows into it. VSS counts the other way round.",
    ),
    _number(
        "fuel_level_l",
        "l",
        (0, 5_000),
        _HOUR,
        "Vehicle.Powertrain.FuelSystem.AbsoluteLevel",
        "Fuel in the tank.",
    ),
    _number(
        "fuel_used_today_l",
        "l",
        (0, 5_000),
        _SHIFT,
        None,
        "Fuel used since the vehicle's local midnight: it starts again at 0.",
    ),
)

CATALOGUE: Mapping[str, Signal] = MappingProxyType({signal.name: signal for signal in _SIGNALS})


def _plain_limits(signal: Signal) -> tuple[tuple[type, ...], float, float]:
    if signal.kind == "boolean":
        return ((bool,), 0, 1)
    lowest = -float_info.max if signal.minimum is None else signal.minimum
    highest = float_info.max if signal.maximum is None else signal.maximum
    return ((float, int), lowest, highest)


# For the hot path: signal -> (exact types, lowest, highest). A value of one of these very types within the limits is
# valid as it is (NaN and infinity are not within any limits); everything else goes to `check_value`.
PLAIN_VALUES: Mapping[str, tuple[tuple[type, ...], float, float]] = {
    signal.name: _plain_limits(signal) for signal in _SIGNALS if signal.kind != "text"
}


def check_value(signal: str, value: Any) -> Value | InvalidValue:
    """The value as it may be stored, or why it may not. Never raises, whatever value comes in from outside."""
    entry = CATALOGUE.get(signal)
    if entry is None:
        return InvalidValue("unknown signal")
    if entry.kind == "boolean":
        return value if isinstance(value, bool) else InvalidValue("not a boolean")
    if entry.kind == "text":
        return _check_text(value)
    return _check_number(entry, value)


def _check_number(entry: Signal, value: Any) -> Value | InvalidValue:
    # bool is a subclass of int; a provider that says true for a number means something else.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return InvalidValue("not a number")
    if not -math.inf < value < math.inf:  # math.isfinite raises on an int beyond every float
        return InvalidValue("not a finite number")
    if entry.minimum is not None and value < entry.minimum:
        return InvalidValue(f"below {entry.minimum:g} {entry.unit}")
    if entry.maximum is not None and value > entry.maximum:
        return InvalidValue(f"above {entry.maximum:g} {entry.unit}")
    # Plain types only: a subclass (an enum member, a NumPy scalar) may not serialise.
    if isinstance(value, int):
        return int(value)
    return float(value)


def _check_text(value: Any) -> Value | InvalidValue:
    """PostgreSQL stores neither NUL nor lone surrogates, and one such text would spoil a whole batch."""
    if not isinstance(value, str):
        return InvalidValue("not text")
    if len(value) > MAX_TEXT_LENGTH:
        return InvalidValue(f"longer than {MAX_TEXT_LENGTH} characters")
    if "\x00" in value:
        return InvalidValue("holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        return InvalidValue("holds a lone surrogate")
    return str(value)
