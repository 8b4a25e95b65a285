"""rFMS 4 on the wire: one vehicle status to readings. Pure.

Owns the mapping and its units (metres, watts and watt-hours become kilometres, kilowatts and
kilowatt-hours). It must never guess: a field that is omitted is no news, and a field that cannot
be read is a flaw of its record. A word for "not available" in place of a number is handed on, so
that acceptance counts it. Source: the rFMS 4.0.0 OpenAPI document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from domain.model import Reading
from domain.not_available import NOT_AVAILABLE, is_word, with_common_code
from domain.position import HALVES, LATITUDE, LONGITUDE, POSITION
from providers.loose_types import read_instant, read_number
from runtime.instants import format_instant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo

    from domain.model import Value

MAX_NAMED_FLAWS: Final = 5

# field -> (signal, divisor)
_STATUS_NUMBERS: Final = {
    "hrTotalVehicleDistance": ("odometer_km", 1000),
    "totalElectricEnergyUsed": ("total_energy_used_kwh", 1000),
}
_SNAPSHOT_NUMBERS: Final = {
    "wheelBasedSpeed": ("speed_kmh", 1),
    "hybridBatteryPackRemainingCharge": ("soc_percent", 1),
    "batteryPackChargingPower": ("charging_power_kw", 1000),
}
_RANGE_NUMBERS: Final = {"batteryPack": ("range_km", 1000)}
_POSITION_NUMBERS: Final = {"heading": ("heading_deg", 1), "altitude": ("altitude_m", 1)}
_SPEED_OF_POSITION: Final = {"speed": ("speed_kmh", 1)}
_CHARGING: Final = {
    "NOT_CHARGING": False,
    "CHARGING": True,
    "CHARGING_AC": True,
    "CHARGING_DC": True,
}
# CONNECTING, DISCONNECTING and ERROR give nothing: the vehicle reports the end of the first two
# with one of the others.
_PLUGGED_IN: Final = {
    "CONNECTED": True,
    "DISCONNECTED": False,
    "CONNECTING": None,
    "DISCONNECTING": None,
    "ERROR": None,
}


class RecordReader:
    """Readings of one status, gathered field by field, and the fields that could not be read."""

    def __init__(self, created_at: datetime, zone: tzinfo | None) -> None:
        self._created_at = created_at
        self._zone = zone
        self.readings: list[Reading] = []
        self._flaws: dict[str, tuple[str, ...]] = {}

    @property
    def detail(self) -> str:
        """Return the fields that could not be read, and why, in words; empty without a flaw."""
        return "; ".join(list(self._flaws)[:MAX_NAMED_FLAWS])

    @property
    def flawed_signals(self) -> tuple[str, ...]:
        """Return the signals that the flawed fields would have given."""
        return tuple(dict.fromkeys(name for names in self._flaws.values() for name in names))

    def add_flaw(self, detail: str, signals: tuple[str, ...] = ()) -> None:
        self._flaws[detail] = signals

    def read(self, status: Mapping[str, Any]) -> None:
        """Read a record. Makers move fields between the record and its snapshotData."""
        inner = self._object(status, "snapshotData", ())
        snapshot = {**status, **inner}
        self._numbers({**inner, **status}, _STATUS_NUMBERS, self._created_at)
        self._numbers(snapshot, _SNAPSHOT_NUMBERS, self._created_at)
        ranges = self._object(snapshot, "estimatedDistanceToEmpty", ("range_km",))
        self._numbers(ranges, _RANGE_NUMBERS, self._created_at)
        self._charging(snapshot)
        position = self._object(snapshot, "gnssPosition", HALVES)
        if position:
            wheels = snapshot.get("wheelBasedSpeed")
            self._position(position, needs_speed=wheels is None or _says_nothing(wheels))

    def _charging(self, snapshot: Mapping[str, Any]) -> None:
        signals = ("charging_status", "charging")
        status = self._word(snapshot, "batteryPackChargingStatus", signals)
        if status is not None:
            self._add("charging_status", status, self._created_at)
            if status in _CHARGING:  # ERROR is neither
                self._add("charging", _CHARGING[status], self._created_at)
        field = "batteryPackChargingConnectionStatus"
        connection = self._word(snapshot, field, ("plugged_in",))
        if connection is not None:
            if connection not in _PLUGGED_IN:
                self.add_flaw(f"{field} is not one of the standard's words", ("plugged_in",))
            elif (plugged_in := _PLUGGED_IN[connection]) is not None:
                self._add("plugged_in", plugged_in, self._created_at)
        field = "estimatedTimeBatteryPackChargingCompleted"
        expected_end = self.instant(snapshot, field, ("charging_complete_at",))
        if expected_end is not None:
            text = format_instant(expected_end, "seconds")
            self._add("charging_complete_at", text, self._created_at)
        elif _says_nothing(snapshot.get(field)):
            self._add("charging_complete_at", NOT_AVAILABLE, self._created_at)

    def _position(self, position: Mapping[str, Any], *, needs_speed: bool) -> None:
        """Read a position at its own time, which may be before its record's.

        Without a time of its own it takes its record's. If its time cannot be read, it cannot be
        placed in time and gives nothing.
        """
        field, at = "positionDateTime", self._created_at
        own_time = position.get(field)
        if own_time is not None and not _says_nothing(own_time):
            own = self.instant(position, field, HALVES)
            if own is None:
                return
            at = own
        self._place(position, at)
        self._numbers(position, _POSITION_NUMBERS, at)
        if needs_speed:
            self._numbers(position, _SPEED_OF_POSITION, at)

    def _place(self, position: Mapping[str, Any], at: datetime) -> None:
        """Read latitude and longitude. Acceptance refuses half a position visibly."""
        latitude = self._number(position, "latitude", HALVES)
        longitude = self._number(position, "longitude", HALVES)
        if isinstance(latitude, str) or isinstance(longitude, str):
            self._add(POSITION, NOT_AVAILABLE, at)
        elif latitude is not None and longitude is not None:
            self._add(POSITION, (latitude, longitude), at)
        elif longitude is None and position.get("longitude") is None and latitude is not None:
            self._add(LATITUDE, latitude, at)
        elif latitude is None and position.get("latitude") is None and longitude is not None:
            self._add(LONGITUDE, longitude, at)

    # Fields

    def instant(
        self, fields: Mapping[str, Any], field: str, signals: tuple[str, ...] = ()
    ) -> datetime | None:
        """Return the instant; None if there is none, or if the field says "not available"."""
        value = fields.get(field)
        if value is None or _says_nothing(value):
            return None
        instant = read_instant(value, self._zone)
        if instant is None:
            self.add_flaw(f"{field} is not a time with a zone", signals)
        return instant

    def _add(self, signal: str, value: Value, at: datetime) -> None:
        self.readings.append(Reading(signal, value, at))

    def _numbers(
        self, fields: Mapping[str, Any], table: Mapping[str, tuple[str, int]], at: datetime
    ) -> None:
        for field, (signal, divisor) in table.items():
            number = self._number(fields, field, (signal,))
            if isinstance(number, str):
                self._add(signal, number, at)
            elif number is not None:
                value = number if divisor == 1 else number / divisor
                self._add(signal, with_common_code("rfms", signal, value), at)

    def _number(
        self, fields: Mapping[str, Any], field: str, signals: tuple[str, ...]
    ) -> float | str | None:
        """Return the number, or NOT_AVAILABLE for a word that says so; None if there is none."""
        value = fields.get(field)
        if value is None:
            return None
        if _says_nothing(value):
            return NOT_AVAILABLE
        number = read_number(value)
        if number is None:
            self.add_flaw(f"{field} is not a number", signals)
        return number

    def _word(self, fields: Mapping[str, Any], field: str, signals: tuple[str, ...]) -> str | None:
        """Return the word as the standard writes it: `CHARGING_AC`. None if it says nothing.

        NOT_AVAILABLE is one of the standard's words here, and is not counted.
        """
        value = fields.get(field)
        if value is None:
            return None
        if not isinstance(value, str) or not value.isprintable():
            self.add_flaw(f"{field} is not a word", signals)
            return None
        word = "_".join(value.replace("-", " ").split()).upper()
        return word if word and not is_word(word) else None

    def _object(
        self, fields: Mapping[str, Any], field: str, signals: tuple[str, ...]
    ) -> Mapping[str, Any]:
        value = fields.get(field)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.add_flaw(f"{field} is not an object", signals)
        return {}


def _says_nothing(value: object) -> bool:
    return isinstance(value, str) and is_word(value)
