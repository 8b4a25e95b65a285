"""A customer's legacy system: a small service that collects from the same simulated vehicles.

Owns its snapshot, its HTTP answers and its faults. It looks at the vehicles once a second and
remembers which report was the newest, so it has a snapshot of its own: it may lag, lose devices or
show wrong values while the fleet itself is well. It has other names and units than the providers
and than the service, as such systems have.

GET /legacy/{fleet}/vehicles[?page=N]   the registry
GET /legacy/{fleet}/state[?page=N]      the newest values of every vehicle

Both need the header X-Legacy-Token. `next` links to the page after this one, or is null.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from simulator.chance import seed_from
from simulator.exchange import VendorAnswer, json_answer
from simulator.legacy_faults import RegistryFault
from simulator.stream import LiveStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.exchange import Request
    from simulator.legacy_faults import LegacyFaults
    from simulator.provider import SimulatedProvider
    from simulator.rfms import RfmsFleet

PREFIX: Final = "/legacy/"
CREDENTIAL_HEADER: Final = "x-legacy-token"
PAGE_SIZE: Final = 500
COLLECT_SECONDS: Final = 1.0
_WRONG_SOC: Final = 0.1  # of full
_WRONG_METRES: Final = 25_000


class _Report(NamedTuple):
    """The newest report of one vehicle as the legacy system has it: values with their times."""

    seen: float  # when it arrived here, in epoch seconds
    at: Mapping[str, int]  # by label of the fleet, in epoch milliseconds


_Snapshot = list[_Report | None]  # by number of the vehicle


class LegacyFleet:
    """One fleet's legacy system. Synchronous; `wall` is epoch seconds."""

    def __init__(self, provider: SimulatedProvider, faults: LegacyFaults, seed: int) -> None:
        self.provider = provider
        self.faults = faults
        self.requests: Counter[str] = Counter()
        self._seed = seed_from(seed, "legacy", provider.tenant.name)
        self._history: deque[tuple[float, _Snapshot]] = deque()
        self._registry_answers = 0

    # Collecting

    def tick(self, wall: float) -> None:
        """Look at the fleet, if a second has passed, and forget what no lag needs any more."""
        history = self._history
        if history and wall - history[-1][0] < COLLECT_SECONDS:
            return
        before: _Snapshot = history[-1][1] if history else [None] * len(self._buses)
        history.append((wall, [self._look(n, before[n], wall) for n in range(len(self._buses))]))
        while len(history) > 1 and history[1][0] <= wall - self.faults.lag:
            history.popleft()

    def _look(self, number: int, before: _Report | None, wall: float) -> _Report | None:
        """Return the vehicle's newest report; the one from before if there is no newer one."""
        fleet = self.provider.fleet
        if isinstance(fleet, LiveStream):
            signals = fleet.signals_of(self._buses[number].spec.vehicle_id)
            times = {signal.label: signal.known_ms for signal in signals if signal.known_ms}
            is_new = bool(times) and (before is None or before.at != times)
            return _Report(wall, times) if is_new else before
        status = fleet.log.latest.get(number)
        created = 0 if status is None else round(status.created * 1000)
        if status is None or (before is not None and created in before.at.values()):
            return before
        return _Report(wall, dict.fromkeys(fleet.log.values(status), created))

    @property
    def _buses(self) -> Sequence[Any]:
        return self.provider.roster.buses

    def _snapshot(self, wall: float) -> _Snapshot:
        """Return the newest snapshot that is as old as the lag."""
        found: _Snapshot = [None] * len(self._buses)
        for taken, snapshot in self._history:
            if taken > wall - self.faults.lag:
                break
            found = snapshot
        return found

    # Answers

    def answer(self, request: Request, resource: str, wall: float) -> VendorAnswer:
        self.requests[resource] += 1
        if self.faults.outage:
            return json_answer(503, {"error": "the legacy system is down"})
        if request.method != "GET":
            return json_answer(405, {"error": "the legacy system can only be read"})
        match resource:
            case "vehicles":
                return _page(request, "vehicles", self._vehicles())
            case "state":
                return _page(request, "state", self._state(wall))
            case _:
                return json_answer(404, {"error": f"no such resource: {request.path}"})

    def _vehicles(self) -> list[dict[str, Any]]:
        self._registry_answers += 1
        fault = self.faults.registry
        is_halved = fault is RegistryFault.HALVED or (
            fault is RegistryFault.FLAPPING and self._registry_answers % 2 == 0
        )
        buses = [] if fault is RegistryFault.EMPTY else self._buses[:: 2 if is_halved else 1]
        return [
            {
                "id": bus.spec.vehicle_id,
                "source": str(self.provider.tenant.vendor),
                "unit": bus.spec.vehicle_id,
                "vehicle": {"number": f"vehicle-{bus.spec.vehicle_id}", "label": bus.spec.name},
            }
            for bus in buses
        ]

    def _state(self, wall: float) -> list[dict[str, Any]]:
        lost, wrong = (
            self._chosen("losses", self.faults.losses),
            self._chosen("wrong", self.faults.wrong),
        )
        state = []
        for number, report in enumerate(self._snapshot(wall)):
            vehicle_id = self._buses[number].spec.vehicle_id
            if report is None or vehicle_id in lost:
                state.append({"id": vehicle_id, "lastSeen": None})
                continue
            values = self._values(number, report)
            if vehicle_id in wrong:
                _falsify(values)
            state.append({"id": vehicle_id, "lastSeen": round(report.seen * 1000), **values})
        return state

    def _chosen(self, fault: str, share: float) -> set[str]:
        """Return the vehicles that a fault hits: by the seed, an exact share, rounded up."""
        order = sorted(bus.spec.vehicle_id for bus in self._buses)
        Random(seed_from(self._seed, fault)).shuffle(order)
        return set(order[: ceil(share * len(order) - 1e-9)])

    def _values(self, number: int, report: _Report) -> dict[str, Any]:
        fleet, bus = self.provider.fleet, self._buses[number]
        if isinstance(fleet, LiveStream):
            read = {label: bus.readers[label](at / 1000) for label, at in report.at.items()}
            return _of_stream(read, report.at)
        return _of_rfms(fleet, bus.spec.vehicle_id, report.at)


class LegacySystem:
    """The legacy systems of all fleets behind one token."""

    def __init__(
        self, providers: Sequence[SimulatedProvider], faults: LegacyFaults, seed: int
    ) -> None:
        self.token = f"legacy-{seed_from(seed, 'legacy token'):016x}"
        self.fleets = {
            provider.tenant.name: LegacyFleet(provider, faults, seed) for provider in providers
        }

    def tick(self, wall: float) -> None:
        for fleet in self.fleets.values():
            fleet.tick(wall)

    def answer(self, request: Request, wall: float) -> VendorAnswer:
        if request.headers.get(CREDENTIAL_HEADER) != self.token:
            return json_answer(401, {"error": "X-Legacy-Token is missing or wrong"})
        name, _, resource = request.path.removeprefix(PREFIX).partition("/")
        fleet = self.fleets.get(name)
        if fleet is None:
            return json_answer(404, {"error": f"no fleet {name!r}"})
        return fleet.answer(request, resource, wall)

    def change(self, tenant: str | None, faults: LegacyFaults) -> None:
        """Give one fleet, or all, other faults from now on. Raises ValueError for a stranger."""
        if tenant is not None and tenant not in self.fleets:
            raise ValueError(f"no tenant {tenant!r}")
        for name, fleet in self.fleets.items():
            if tenant in (None, name):
                fleet.faults = faults

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return the present faults and the number of requests of each fleet."""
        return {
            name: {"faults": asdict(fleet.faults), "requests": dict(fleet.requests)}
            for name, fleet in self.fleets.items()
        }


def _page(request: Request, name: str, items: list[dict[str, Any]]) -> VendorAnswer:
    try:
        number = int(request.query.get("page", "1"))
    except ValueError:
        number = 0
    if number < 1:
        return json_answer(400, {"error": "page is a number from 1 on"})
    begin, end = (number - 1) * PAGE_SIZE, number * PAGE_SIZE
    link = f"?page={number + 1}" if end < len(items) else None
    return json_answer(200, {"data": {name: items[begin:end]}, "next": link})


def _of_stream(read: Mapping[str, Any], at: Mapping[str, int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "soc" in read:
        values["battery"] = {"level": round(read["soc"] / 100, 4), "at": at["soc"]}
    if "odo" in read:
        values["odometer"] = {"metres": round(read["odo"] * 1000), "at": at["odo"]}
    if "speed" in read:
        values["speed"] = {"metresPerSecond": round(read["speed"] / 3.6, 4), "at": at["speed"]}
    if "power" in read:
        values["power"] = {"watts": round(read["power"] * 1000), "at": at["power"]}
    if "gps" in read:
        latitude, longitude = map(float, read["gps"].split("|"))
        values["position"] = {"lat": latitude, "lng": longitude, "at": at["gps"]}
    return values


def _of_rfms(fleet: RfmsFleet, vin: str, at: Mapping[str, int]) -> dict[str, Any]:
    """Return the values of a status; its values all have one time."""
    read = {name: fleet.log.reading(vin, name, ms / 1000)["value"] for name, ms in at.items()}
    time = max(at.values())
    values: dict[str, Any] = {}
    if "hybridBatteryPackRemainingCharge" in read:
        level = round(read["hybridBatteryPackRemainingCharge"] / 100, 4)
        values["battery"] = {"level": level, "at": time}
    if "hrTotalVehicleDistance" in read:
        values["odometer"] = {"metres": read["hrTotalVehicleDistance"], "at": time}
    if "wheelBasedSpeed" in read:
        speed = round(read["wheelBasedSpeed"] / 3.6, 4)
        values["speed"] = {"metresPerSecond": speed, "at": time}
    if "gnssPosition" in read:
        place = read["gnssPosition"]
        values["position"] = {"lat": place["latitude"], "lng": place["longitude"], "at": time}
    if "batteryPackChargingStatus" in read:
        state = "IDLE" if read["batteryPackChargingStatus"] == "NOT_CHARGING" else "CHARGING"
        values["charging"] = {"state": state, "at": time}
    return values


def _falsify(values: dict[str, Any]) -> None:
    """Move the state of charge and the odometer by more than anybody would tolerate."""
    if "battery" in values:
        level = values["battery"]["level"]
        moved = level - _WRONG_SOC if level > 0.5 else level + _WRONG_SOC
        values["battery"]["level"] = round(moved, 4)
    if "odometer" in values:
        values["odometer"]["metres"] += _WRONG_METRES
