"""The signal catalogue: every canonical signal with its unit, its limits and its old age.

This module owns the names, units and ranges of signals, and the check of one value. The codes for
"not available" are in not_available.py. It knows no provider's labels: providers/*/wire.py maps
those. A name outside the catalogue cannot enter a snapshot.
"""

from __future__ import annotations

import math
from sys import float_info
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from domain.model import Reason
from domain.not_available import CODES, is_code, is_no_instant, is_no_position, is_word
from domain.position import HALVES, LATITUDE, LONGITUDE, POSITION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import Value

MAX_TEXT_LENGTH = 64

_QUARTER_HOUR = 900.0
_HOUR = 3600.0
_SHIFT = 6 * _HOUR


class Signal(NamedTuple):
    """One entry of the catalogue.

    `minimum` and `maximum` are inclusive, and None for text and booleans. `old_after_seconds` is
    the age past which the value is marked old; domain.health scales it, and raises it where a
    provider reports rarely. `while_signal` names the boolean signal while which this one is sent: a
    vehicle that stops sending it is not silent, and its value has ended once that signal is false.
    None means periodic. `vss_path` is the leaf of the COVESA Vehicle Signal Specification with
    the same meaning, or None. The specification's unit may differ: it counts distances in metres
    below the odometer, and power in W.
    """

    name: str
    unit: str
    kind: Literal["number", "boolean", "text"]
    minimum: float | None
    maximum: float | None
    old_after_seconds: float
    vss_path: str | None
    description: str
    while_signal: str | None = None


class InvalidValue(NamedTuple):
    """An expected result: the value is not valid for the signal, or says "not available".

    `why` is plain ASCII of our own, so it can be stored.
    """

    why: str
    reason: Reason = Reason.INVALID


NOT_AVAILABLE = InvalidValue("not available", Reason.NOT_AVAILABLE)


_BATTERY = "Vehicle.Powertrain.TractionBattery"
_PLACE = "Vehicle.CurrentLocation"


def _number(
    name: str,
    unit: str,
    limits: tuple[float, float],
    old_after: float,
    vss_path: str | None,
    description: str,
    while_signal: str | None = None,
) -> Signal:
    low, high = limits
    return Signal(name, unit, "number", low, high, old_after, vss_path, description, while_signal)


def _boolean(name: str, old_after: float, vss_path: str | None, description: str) -> Signal:
    return Signal(name, "", "boolean", None, None, old_after, vss_path, description)


def _text(name: str, old_after: float, description: str, while_signal: str | None = None) -> Signal:
    return Signal(name, "", "text", None, None, old_after, None, description, while_signal)


# Limits refuse values that no vehicle can mean (such as a wrong unit), not values that are merely
# unusual. Old ages: 15 minutes for what moves with the vehicle, an hour for
# what moves with its battery, six hours for counters and for what is sent only on a change.
_SIGNALS = (
    _number(
        "soc_percent",
        "%",
        (0, 100),
        _HOUR,
        f"{_BATTERY}.StateOfCharge.Current",
        "State of charge of the traction battery.",
    ),
    _number(
        "odometer_km",
        "km",
        (0, 10_000_000),
        _SHIFT,
        "Vehicle.TraveledDistance",
        "Total distance driven.",
    ),
    _number(
        "speed_kmh",
        "km/h",
        (0, 250),
        _QUARTER_HOUR,
        "Vehicle.Speed",
        "Speed over ground or by the wheels.",
    ),
    _number(
        "power_kw",
        "kW",
        (-2_000, 2_000),
        _QUARTER_HOUR,
        f"{_BATTERY}.CurrentPower",
        "Power drawn from the traction battery; negative flows into it. "
        "VSS counts the other way round.",
    ),
    _number(
        "latitude_deg", "deg", (-90, 90), _QUARTER_HOUR, f"{_PLACE}.Latitude", "WGS 84 latitude."
    ),
    _number(
        "longitude_deg",
        "deg",
        (-180, 180),
        _QUARTER_HOUR,
        f"{_PLACE}.Longitude",
        "WGS 84 longitude.",
    ),
    _number(
        "heading_deg",
        "deg",
        (0, 360),
        _QUARTER_HOUR,
        f"{_PLACE}.Heading",
        "Course, clockwise from north.",
    ),
    _number(
        "altitude_m",
        "m",
        (-500, 9_000),
        _QUARTER_HOUR,
        f"{_PLACE}.Altitude",
        "Height above sea level.",
    ),
    _boolean(
        "charging",
        _HOUR,
        f"{_BATTERY}.Charging.IsCharging",
        "Energy flows from a charger into the vehicle.",
    ),
    _text("charging_status", _HOUR, "The provider's own word for what charging is doing."),
    _boolean(
        "plugged_in",
        _SHIFT,
        f"{_BATTERY}.Charging.ChargingPort.AnyPosition.IsChargingCableConnected",
        "A charging connector is attached.",
    ),
    # rFMS 4: batteryPackChargingPower and estimatedTimeBatteryPackChargingCompleted describe a
    # charge that goes on, and unsupported or unavailable fields are left out. ViriCiti has neither.
    _number(
        "charging_power_kw",
        "kW",
        (0, 5_000),
        _HOUR,
        None,
        "Power that the charger delivers now.",
        while_signal="charging",
    ),
    _text(
        "charging_complete_at",
        _HOUR,
        "When charging is expected to end: RFC 3339, UTC.",
        while_signal="charging",
    ),
    _number(
        "range_km",
        "km",
        (0, 3_000),
        _HOUR,
        f"{_BATTERY}.Range",
        "Distance left on the traction battery.",
    ),
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
        "Electric energy used since the vehicle's local midnight: "
        "it starts again at 0, and recuperation lowers it.",
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
        "Current drawn from the traction battery; negative flows into it. "
        "VSS counts the other way round.",
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
    # "Not available" codes within the range are left to the careful check, with all above them.
    codes = [code.lowest for code in CODES.get(signal.name, ()) if code.lowest <= highest]
    return ((float, int), lowest, min([highest, *(code - 0.001 for code in codes)]))


# For the hot path: signal -> (exact types, lowest, highest). A value of exactly one of these types
# and within the limits is valid as it is (NaN and infinity are outside every limit). Every other
# value goes to `check_value`. Half a position is never valid, so halves are left out.
PLAIN_VALUES: Mapping[str, tuple[tuple[type, ...], float, float]] = {
    signal.name: _plain_limits(signal)
    for signal in _SIGNALS
    if signal.kind != "text" and signal.name not in HALVES
}


def check_value(signal: str, value: Any) -> Value | InvalidValue:
    """Return the value as it may be stored, or why it is invalid. Never raises for any value.

    The value of `position` is a pair; the halves of a position are checked as numbers of their own.
    """
    entry = CATALOGUE.get(signal)
    if entry is None and signal != POSITION:
        return InvalidValue("unknown signal")
    if isinstance(value, str) and (is_word(value) or is_no_instant(signal, value)):
        return NOT_AVAILABLE
    if entry is None:
        return _check_position(value)
    if entry.kind == "boolean":
        return value if isinstance(value, bool) else InvalidValue("not a boolean")
    if entry.kind == "text":
        return _check_text(value)
    return _check_number(entry, value)


def is_plain_position(value: Any) -> bool:
    """Return whether the value is a valid position as it is: the quick check of the hot path."""
    if value.__class__ is not tuple or len(value) != 2:
        return False
    latitude, longitude = value
    return (
        latitude.__class__ is float
        and longitude.__class__ is float
        and -90.0 <= latitude <= 90.0
        and -180.0 <= longitude <= 180.0
        and (latitude != 0.0 or longitude != 0.0)
    )


def _check_position(value: Any) -> Value | InvalidValue:
    """Check both halves of a position; if either is no value, there is no position."""
    if not isinstance(value, tuple) or len(value) != 2:
        return InvalidValue("not a pair of latitude and longitude")
    latitude, longitude = (
        check_value(LATITUDE, value[0]),
        check_value(LONGITUDE, value[1]),
    )
    for name, half in ((LATITUDE, latitude), (LONGITUDE, longitude)):
        if isinstance(half, InvalidValue):
            return half if half is NOT_AVAILABLE else InvalidValue(f"{name} is {half.why}")
    if is_no_position(latitude, longitude):  # type: ignore[arg-type]  # both are numbers
        return NOT_AVAILABLE
    return (latitude, longitude)  # type: ignore[return-value]


def _check_number(entry: Signal, value: Any) -> Value | InvalidValue:
    # bool is a subclass of int; a provider that sends true for a number means something else.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return InvalidValue("not a number")
    if not -math.inf < value < math.inf:  # math.isfinite raises OverflowError for a huge int
        return InvalidValue("not a finite number")
    if is_code(entry.name, value):
        return NOT_AVAILABLE
    if entry.minimum is not None and value < entry.minimum:
        return InvalidValue(f"below {entry.minimum:g} {entry.unit}")
    if entry.maximum is not None and value > entry.maximum:
        return InvalidValue(f"above {entry.maximum:g} {entry.unit}")
    # Plain types only: a subclass (an enum member, a NumPy scalar) may not be serialisable.
    if isinstance(value, int):
        return int(value)
    return float(value)


def _check_text(value: Any) -> Value | InvalidValue:
    """Return text that PostgreSQL can store, or why it is invalid.

    PostgreSQL stores neither NUL nor lone surrogates; one such text would make a whole batch fail.
    """
    if not isinstance(value, str):
        return InvalidValue("not text")
    if len(value) > MAX_TEXT_LENGTH:
        return InvalidValue(f"longer than {MAX_TEXT_LENGTH} characters")
    if "\x00" in value:
        return InvalidValue("holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        return InvalidValue("holds a lone surrogate")
    return str(value)
