"""rFMS 4 on the wire: a page of vehicle statuses to readings. Pure.

Owns the mapping and its units (metres, watts and watt-hours become kilometres, kilowatts and
kilowatt-hours). It must never guess: a field that is omitted or NOT_AVAILABLE is no news, and a
field of the wrong type is shown as malformed. Source: the rFMS 4.0.0 OpenAPI document.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from domain.model import Reading
from domain.position import LATITUDE, LONGITUDE, POSITION
from ports.providers import BadRecord, Page, Sample
from providers.answers import error_code_in
from providers.samples import BadRecords, malformed_answer
from runtime.instants import format_instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import Value

MAX_VIN_LENGTH: Final = 64

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
_NOT_AVAILABLE: Final = "NOT_AVAILABLE"
_CHARGING: Final = {
    "NOT_CHARGING": False,
    "CHARGING": True,
    "CHARGING_AC": True,
    "CHARGING_DC": True,
}
# CONNECTING and DISCONNECTING give nothing: the vehicle reports the end of either with one of
# these.
_PLUGGED_IN: Final = {"CONNECTED": True, "DISCONNECTED": False}


class StatusPage(NamedTuple):
    """One answer.

    `samples` are oldest first. `last_vin` is the last one in the answer's own order. `is_in_order`
    says whether that order is the one in which the maker received the records. A record with a
    wrong field gives its other readings and is counted as malformed all the same.
    """

    samples: tuple[Sample, ...]
    answered: frozenset[str]
    records: int
    ignored: int
    malformed: tuple[BadRecord, ...]
    malformed_count: int
    has_more: bool
    link: str | None
    last_vin: str | None
    newest_received_at: datetime | None
    server_time: datetime | None
    is_in_order: bool = True
    oldest_received_at: datetime | None = None

    @property
    def announces_more(self) -> bool:
        return self.has_more or self.link is not None


def read_page(body: bytes) -> StatusPage:
    """Read an answer.

    Raises ProviderFault when it is not a page of statuses; a bad record in it is only counted.
    """
    try:
        page = orjson.loads(body)
    except ValueError as error:
        raise malformed_answer("the answer is not JSON") from error
    response = page.get("vehicleStatusResponse") if isinstance(page, dict) else None
    statuses = response.get("vehicleStatuses") if isinstance(response, dict) else None
    if not isinstance(statuses, list):
        raise malformed_answer("the answer has no vehicleStatusResponse.vehicleStatuses (rFMS 4)")
    reader = _PageReader()
    for status in statuses:
        reader.read(status)
    link = page.get("moreDataAvailableLink")
    return reader.page(
        has_more=page.get("moreDataAvailable") is True,
        link=link if isinstance(link, str) and link else None,
        server_time=parse_instant(page.get("requestServerDateTime")),
    )


def read_error_code(body: bytes) -> str | None:
    """Return the `error` member, as the standard and OAuth have it; None when there is none."""
    return error_code_in(body, "error")


def to_page(answer: StatusPage) -> Page:
    """Return the part of the answer that is about vehicles."""
    return Page(
        samples=answer.samples,
        answered=answer.answered,
        records=answer.records,
        ignored=answer.ignored,
        malformed=answer.malformed,
        malformed_count=answer.malformed_count,
    )


def parse_instant(text: object) -> datetime | None:
    """Return ISO 8601 text with an offset or Z as an instant in UTC.

    None for anything else, also for a time without zone.
    """
    if not isinstance(text, str):
        return None
    try:
        instant = datetime.fromisoformat(text)
        return None if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class _PageReader:
    def __init__(self) -> None:
        self._dated: list[tuple[datetime, Sample]] = []
        self._answered: set[str] = set()
        self._records = 0
        self._ignored = 0
        self._bad = BadRecords()
        self._last_vin: str | None = None
        self._newest_received_at: datetime | None = None
        self._oldest_received_at: datetime | None = None
        self._is_in_order = True

    def read(self, status: object) -> None:
        self._records += 1
        fields = status if isinstance(status, dict) else {}
        vin = _vin(fields.get("vin"))
        created_at = parse_instant(fields.get("createdDateTime"))
        self._note(vin, parse_instant(fields.get("receivedDateTime")))
        if vin is None or created_at is None:
            wrong = "createdDateTime" if vin is not None else "vin"
            self._bad.add(vin, f"{wrong} cannot be read", status)
            return
        record = _Record(created_at)
        record.read(fields)
        if record.is_flawed:
            self._bad.add(vin, "a field cannot be read", status, refused_whole=not record.readings)
        if record.readings:
            self._dated.append((created_at, Sample(vin, tuple(record.readings))))
        elif not record.is_flawed:
            self._ignored += 1

    def _note(self, vin: str | None, received_at: datetime | None) -> None:
        """Note what paging and confirmation need, also of a record that is otherwise useless."""
        if vin is not None:
            self._answered.add(vin)
            self._last_vin = vin
        if received_at is not None:
            newest = self._newest_received_at or received_at
            self._is_in_order &= newest <= received_at
            self._newest_received_at = max(received_at, newest)
            self._oldest_received_at = min(received_at, self._oldest_received_at or received_at)

    def page(self, *, has_more: bool, link: str | None, server_time: datetime | None) -> StatusPage:
        self._dated.sort(key=lambda dated: dated[0])
        return StatusPage(
            samples=tuple(sample for _, sample in self._dated),
            answered=frozenset(self._answered),
            records=self._records,
            ignored=self._ignored,
            malformed=self._bad.records(),
            malformed_count=self._bad.count,
            has_more=has_more,
            link=link,
            last_vin=self._last_vin,
            newest_received_at=self._newest_received_at,
            server_time=server_time,
            is_in_order=self._is_in_order,
            oldest_received_at=self._oldest_received_at,
        )


def _vin(value: object) -> str | None:
    return (
        value
        if isinstance(value, str) and 0 < len(value) <= MAX_VIN_LENGTH and "\0" not in value
        else None
    )


class _Record:
    """Readings of one status, gathered field by field.

    A field of the wrong type makes it flawed.
    """

    def __init__(self, created_at: datetime) -> None:
        self._created_at = created_at
        self.readings: list[Reading] = []
        self.is_flawed = False

    def read(self, status: Mapping[str, Any]) -> None:
        self._numbers(status, _STATUS_NUMBERS, self._created_at)
        snapshot = self._object(status, "snapshotData")
        self._numbers(snapshot, _SNAPSHOT_NUMBERS, self._created_at)
        self._numbers(
            self._object(snapshot, "estimatedDistanceToEmpty"), _RANGE_NUMBERS, self._created_at
        )
        self._charging(snapshot)
        position = self._object(snapshot, "gnssPosition")
        if position:
            self._position(position, needs_speed=snapshot.get("wheelBasedSpeed") is None)

    def _charging(self, snapshot: Mapping[str, Any]) -> None:
        status = self._word(snapshot, "batteryPackChargingStatus")
        if status is not None:
            self._add("charging_status", status, self._created_at)
            if status in _CHARGING:  # ERROR is neither
                self._add("charging", _CHARGING[status], self._created_at)
        connection = self._word(snapshot, "batteryPackChargingConnectionStatus")
        if connection in _PLUGGED_IN:
            self._add("plugged_in", _PLUGGED_IN[connection], self._created_at)
        expected_end = self._time(snapshot, "estimatedTimeBatteryPackChargingCompleted")
        if expected_end is not None:
            self._add(
                "charging_complete_at",
                format_instant(expected_end, "seconds"),
                self._created_at,
            )

    def _position(self, position: Mapping[str, Any], *, needs_speed: bool) -> None:
        """Read a position, at its own time: it may be older than its record.

        Without a time of its own it cannot be placed in time, and gives nothing.
        """
        at = self._time(position, "positionDateTime")
        if at is None:
            return
        latitude, longitude = (
            self._number(position, "latitude"),
            self._number(position, "longitude"),
        )
        if latitude is not None and longitude is not None:
            self._add(POSITION, (latitude, longitude), at)
        elif latitude is not None:  # acceptance refuses half a position visibly
            self._add(LATITUDE, latitude, at)
        elif longitude is not None:
            self._add(LONGITUDE, longitude, at)
        self._numbers(position, _POSITION_NUMBERS, at)
        if needs_speed:
            self._numbers(position, {"speed": ("speed_kmh", 1)}, at)

    # Fields

    def _add(self, signal: str, value: Value, at: datetime) -> None:
        self.readings.append(Reading(signal, value, at))

    def _numbers(
        self, fields: Mapping[str, Any], table: Mapping[str, tuple[str, int]], at: datetime
    ) -> None:
        for field, (signal, divisor) in table.items():
            number = self._number(fields, field)
            if number is not None:
                self._add(signal, number if divisor == 1 else number / divisor, at)

    def _number(self, fields: Mapping[str, Any], field: str) -> float | None:
        value = fields.get(field)
        if type(value) is float or type(value) is int:
            return value
        self.is_flawed |= value is not None
        return None

    def _word(self, fields: Mapping[str, Any], field: str) -> str | None:
        value = fields.get(field)
        if isinstance(value, str):
            return value if value and value != _NOT_AVAILABLE else None
        self.is_flawed |= value is not None
        return None

    def _object(self, fields: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        value = fields.get(field)
        if isinstance(value, dict):
            return value
        self.is_flawed |= value is not None
        return {}

    def _time(self, fields: Mapping[str, Any], field: str) -> datetime | None:
        value = fields.get(field)
        instant = parse_instant(value)
        self.is_flawed |= value is not None and instant is None
        return instant
