"""The statuses that one fleet has delivered, in the order in which the server received them.

Owns the log, its bounds (retention and count; the oldest are dropped first) and the faults of
records. An entry has a few fields; its body is computed when it is asked for, because a bus is a
pure function of time. Synchronous; time comes from outside.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from simulator.distortions import distort_status
from simulator.faults import FrameFault
from simulator.fleet import Bus, Mode
from simulator.quirks import Quirk
from simulator.roster import HeldReadings, Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simulator.config import Tenant
    from simulator.fleet import VehicleSpec
    from simulator.reporting import Turn

TIMER: Final = "TIMER"
CHARGING_CHANGE: Final = "BATTERY_PACK_CHARGING_STATUS_CHANGE"
CONNECTION_CHANGE: Final = "BATTERY_PACK_CHARGING_CONNECTION_STATUS_CHANGE"

# The stream's label of each signal that can stop, so that one flag works for both providers.
_STOPPABLE: Final = {
    "hybridBatteryPackRemainingCharge": "soc",
    "gnssPosition": "gps",
    "wheelBasedSpeed": "speed",
    "hrTotalVehicleDistance": "odo",
}


class Status(NamedTuple):
    """One record. `received` and `created` are seconds since the epoch.

    `sequence` orders records that were received at the same time. `quirk` is that of the vehicle
    when the record was received.
    """

    sequence: int
    vehicle: int
    trigger: str
    created: float
    received: float
    absent: frozenset[str] = frozenset()
    quirk: Quirk | None = None


def iso_utc(at: float) -> str:
    """Return the instant in RFC 3339, UTC, with milliseconds."""
    return (
        datetime.fromtimestamp(round(at, 3), UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def _gnss(bus: Bus, at: float) -> dict[str, Any]:
    latitude, longitude = bus.position(at)
    return {
        "latitude": latitude,
        "longitude": longitude,
        "heading": bus.heading_degrees(at),
        "altitude": 4,
        "speed": bus.speed_kmh(at),
        "positionDateTime": iso_utc(at),
    }


def _charging(bus: Bus, at: float) -> str:
    return "CHARGING_DC" if bus.mode(at) is Mode.CHARGING else "NOT_CHARGING"


def _connection(bus: Bus, at: float) -> str:
    return "CONNECTED" if bus.mode(at) is Mode.CHARGING else "DISCONNECTED"


# rFMS 4.0 names and units: metres, watts, watt-hours, percent, km/h.
_SNAPSHOT: Final[Mapping[str, Callable[[Bus, float], Any]]] = {
    "gnssPosition": _gnss,
    "wheelBasedSpeed": lambda bus, at: bus.speed_kmh(at),
    "hybridBatteryPackRemainingCharge": lambda bus, at: bus.soc(at),
    "batteryPackChargingStatus": _charging,
    "batteryPackChargingConnectionStatus": _connection,
    "batteryPackChargingPower": lambda bus, at: -bus.power_kw(at) * 1000,
    "estimatedDistanceToEmpty": lambda bus, at: {"batteryPack": round(bus.range_km(at) * 1000)},
}
_TOTALS: Final[Mapping[str, Callable[[Bus, float], Any]]] = {
    "hrTotalVehicleDistance": lambda bus, at: round(bus.odo_km(at) * 1000),
    "totalElectricEnergyUsed": lambda bus, at: round(bus.total_energy_kwh(at) * 1000),
}


class UnreceivedStatus(NamedTuple):
    """A record that has not reached the server, so it has no time of reception yet."""

    vehicle: int
    trigger: str
    created: float
    absent: frozenset[str]


class StatusLog:
    """One fleet's records. `tick` lets the vehicles report; the server answers from the rest."""

    def __init__(self, tenant: Tenant, seed: int) -> None:
        self.tenant = tenant
        self.roster = Roster(tenant, seed, _report_interval)
        self.entries: list[Status] = []
        self.latest: dict[int, Status] = {}
        self.generated: Counter[str] = Counter()
        self._sequence = 0
        self._received = 0.0
        self._repeated: dict[int, float] = {}
        self._modes: dict[int, Mode] = {}
        self._overtaken: dict[int, UnreceivedStatus] = {}
        self._kept: HeldReadings[UnreceivedStatus] = HeldReadings()

    def tick(self, elapsed: float, wall: float) -> None:
        """Add the records that fell due. `wall` is the same instant in seconds since the epoch."""
        self._received = max(self._received, wall)
        for turn in self.roster.turns(elapsed):
            created = wall - (elapsed - turn.due)
            if self.roster.quirk_of(turn.vehicle) is Quirk.REPEATS:  # exactly, also on two clocks
                created = self._repeated.setdefault(turn.vehicle, created)
            for draft in self._drafts(turn, created):
                if self.roster.late_seconds(turn.vehicle) is not None:
                    self._kept.keep(turn.vehicle, draft, elapsed)
                else:
                    self._report(draft, self.roster.fault_of(turn, turn.vehicle))
        for draft in self._kept.bursts(self.roster, elapsed):
            self._receive(draft, "late")
        self._forget()

    def _drafts(self, turn: Turn, created: float) -> Iterator[UnreceivedStatus]:
        """Yield the timer's record.

        When the bus began or ended charging since its last turn, first yield one record for the
        plug and one for the charging.
        """
        bus, vehicle = self.roster.buses[turn.vehicle], turn.vehicle
        absent = frozenset(
            name for name, label in _STOPPABLE.items() if self.roster.has_stopped(turn, label)
        )
        mode = bus.mode(created)
        before = self._modes.get(vehicle, mode)
        self._modes[vehicle] = mode
        if (mode is Mode.CHARGING) != (before is Mode.CHARGING):
            yield UnreceivedStatus(vehicle, CONNECTION_CHANGE, created, absent)
            yield UnreceivedStatus(vehicle, CHARGING_CHANGE, created, absent)
        yield UnreceivedStatus(vehicle, TIMER, created, absent)
        if self.roster.quirk_of(vehicle) is Quirk.SAME_SECOND:
            yield UnreceivedStatus(vehicle, CHARGING_CHANGE, created, absent)

    def _report(self, draft: UnreceivedStatus, fault: FrameFault | None) -> None:
        """Add the record, with its fault.

        Malformed and non-object are faults of whole answers in rFMS: a single record of a JSON
        document cannot be broken.
        """
        if fault is FrameFault.OUT_OF_ORDER and draft.vehicle not in self._overtaken:
            self._overtaken[draft.vehicle] = draft
            return
        if fault is FrameFault.FUTURE:
            ahead = draft._replace(created=draft.created + self.roster.faults.future_seconds)
            self._append(ahead, "future")
            return
        self._receive(draft, "status")
        if fault is FrameFault.DUPLICATE:
            self._receive(draft, "duplicate")
        overtaken = self._overtaken.pop(draft.vehicle, None)
        if overtaken is not None:
            self._receive(overtaken, "out_of_order")

    def _receive(self, draft: UnreceivedStatus, kind: str) -> None:
        status = self._append(draft, kind)
        known = self.latest.get(draft.vehicle)
        if known is None or status.created >= known.created:
            self.latest[draft.vehicle] = status

    def _append(self, draft: UnreceivedStatus, kind: str) -> Status:
        self._sequence += 1
        self.generated[kind] += 1
        status = Status(
            self._sequence,
            draft.vehicle,
            draft.trigger,
            draft.created,
            self._received,
            draft.absent,
            self.roster.quirk_of(draft.vehicle),
        )
        self.entries.append(status)
        return status

    def _forget(self) -> None:
        """Bound the log, a tenth at a time: cutting the front of a list moves all the rest."""
        surplus = len(self.entries) - self.tenant.max_statuses
        if surplus >= max(1, self.tenant.max_statuses // 10):
            del self.entries[:surplus]
        if self.entries and self.entries[len(self.entries) // 10].received < self.horizon:
            self.entries = [status for status in self.entries if status.received >= self.horizon]

    @property
    def horizon(self) -> float:
        """The instant of reception before which records are dropped, now or soon."""
        return self._received - self.tenant.retention_seconds

    def latest_at(self, wall: float) -> Mapping[int, Status]:
        """Return each vehicle's newest record that was received by this instant."""
        if wall >= self._received:
            return self.latest
        found: dict[int, Status] = {}
        for status in self.entries:
            if status.received > wall:
                break
            known = found.get(status.vehicle)
            if known is None or status.created >= known.created:
                found[status.vehicle] = status
        return found

    def body(self, status: Status) -> dict[str, Any]:
        """Return the record as rFMS 4.0 writes it; values that are not available are left out."""
        bus, at = self.roster.buses[status.vehicle], status.created
        values = self.values(status)
        body = {
            "vin": bus.spec.vehicle_id,
            "triggerType": {"type": status.trigger, "context": "RFMS"},
            "createdDateTime": iso_utc(at),
            "receivedDateTime": iso_utc(status.received),
            **{name: values[name] for name in _TOTALS if name in values},
            "snapshotData": {name: values[name] for name in _SNAPSHOT if name in values},
        }
        quirk = status.quirk
        return body if quirk is None else distort_status(quirk, body, status.sequence)

    def values(self, status: Status) -> dict[str, Any]:
        """Return every available value by its rFMS name.

        Charging power is available only while the bus charges.
        """
        bus, at = self.roster.buses[status.vehicle], status.created
        absent = set(status.absent)
        if bus.mode(at) is not Mode.CHARGING:
            absent.add("batteryPackChargingPower")
        every = {**_TOTALS, **_SNAPSHOT}
        return {name: read(bus, at) for name, read in every.items() if name not in absent}

    def reading(self, vin: str, name: str, at: float) -> dict[str, Any]:
        """Return one value as written at `at`, with its time in epoch milliseconds."""
        bus = self.roster.buses[self.roster.vehicles[vin]]
        read = _TOTALS.get(name) or _SNAPSHOT[name]
        return {"time": round(at * 1000), "value": read(bus, at)}

    def vin(self, status: Status) -> str:
        return self.roster.buses[status.vehicle].spec.vehicle_id


def vehicle_body(bus: Bus) -> dict[str, Any]:
    """Return one entry of `/rfms/vehicles`."""
    return {
        "vin": bus.spec.vehicle_id,
        "customerVehicleName": bus.spec.name,
        "brand": "VDL",
        "type": "BUS",
        "totalBatteryPackCapacity": bus.capacity_wh,
        "authorizedPaths": ["/vehicles", "/vehiclestatuses"],
    }


def _report_interval(spec: VehicleSpec) -> float:
    return spec.report_interval_seconds
