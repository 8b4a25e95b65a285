"""The measurements of a battery bus at any instant: pure functions of (seed, vehicle, time).

Owns a simple model: a bus on a line repeats drive, charge, park; a parked one stands still for
ever. Everything is in closed form, so any value of any instant can be asked for in any order. The
state endpoint, the stream and the test's oracle agree by construction, and nothing has to be
remembered. Must never read a clock.

Instants are seconds since the Unix epoch. No braking energy is recovered: power is negative only
while charging.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import cos, degrees, pi, radians, sin
from random import Random
from typing import TYPE_CHECKING, Final

from simulator.chance import seed_from
from simulator.reporting import CHATTY, Reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value = float | int | str

# Odometers start here (2026-01-01): counting from 1970 would show millions of kilometres.
ODOMETER_EPOCH: Final = 1_767_225_600.0
SECONDS_PER_DAY: Final = 86_400.0
KM_PER_DEGREE: Final = 111.32
AUXILIARY_KW: Final = 4.0
VIN_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"  # ISO 3779: no I, O, Q

DEFAULT_LABELS: Final = ("gps", "speed", "soc", "power", "odo", "energy_used_per_day")


class Duty(StrEnum):
    """How a vehicle spends its days."""

    LINE = "line"
    PARKED = "parked"


class Mode(StrEnum):
    """The present activity of a vehicle."""

    DRIVING = "driving"
    CHARGING = "charging"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class VehicleSpec:
    """One simulated vehicle.

    `rate` is frames per second over all labels together (stream). `report_interval_seconds` is the
    time between two timer records (rFMS). `reporting` says how the vehicle misbehaves, if it does.
    """

    vehicle_id: str
    name: str
    duty: Duty = Duty.LINE
    labels: tuple[str, ...] = DEFAULT_LABELS
    rate: float = 1.0
    report_interval_seconds: float = 60.0
    reporting: Reporting = CHATTY


@dataclass(frozen=True, slots=True)
class _Character:
    """The constants that make one bus differ from the next."""

    drive_seconds: float
    charge_seconds: float
    park_seconds: float
    offset_seconds: float
    stop_seconds: float  # from one bus stop to the next
    mean_kmh: float
    kwh_per_km: float
    capacity_kwh: float
    high_soc: float
    first_odometer_km: float
    loop_km: float
    centre: tuple[float, float]


def _character(seed: int, vehicle_id: str, centre: tuple[float, float]) -> _Character:
    chance = Random(seed_from(seed, vehicle_id))
    stop_seconds = chance.uniform(70, 130)
    drive, charge, park = (
        chance.uniform(1800, 3000),
        chance.uniform(600, 1000),
        chance.uniform(120, 480),
    )
    drive = round(drive / stop_seconds) * stop_seconds  # a drive ends at a stop, at rest
    return _Character(
        drive_seconds=drive,
        charge_seconds=charge,
        park_seconds=park,
        offset_seconds=chance.uniform(0, drive + charge + park),
        stop_seconds=stop_seconds,
        mean_kmh=chance.uniform(17, 26),
        kwh_per_km=chance.uniform(0.9, 1.4),
        capacity_kwh=chance.choice((200.0, 315.0, 422.0)),
        high_soc=chance.uniform(62, 97),
        first_odometer_km=chance.uniform(4_000, 90_000),
        loop_km=chance.uniform(6, 18),
        centre=(centre[0] + chance.uniform(-0.03, 0.03), centre[1] + chance.uniform(-0.05, 0.05)),
    )


class Bus:
    """One vehicle's values at any instant.

    Every method is pure; `readers` maps a stream label to the method.
    """

    def __init__(
        self, seed: int, spec: VehicleSpec, centre: tuple[float, float] = (52.09, 5.12)
    ) -> None:
        self.spec = spec
        self._is_parked = spec.duty is Duty.PARKED
        self._c = c = _character(seed, spec.vehicle_id, centre)
        self._cycle_seconds = c.drive_seconds + c.charge_seconds + c.park_seconds
        self._cycle_km = c.mean_kmh * c.drive_seconds / 3600
        self._cycle_kwh = c.kwh_per_km * self._cycle_km + AUXILIARY_KW * c.drive_seconds / 3600
        self.capacity_wh = round(c.capacity_kwh * 1000)
        self.readers: Mapping[str, Callable[[float], Value]] = {
            "gps": self.gps,
            "soc": self.soc,
            "odo": self.odo_km,
            "speed": self.speed_kmh,
            "power": self.power_kw,
            "voltage": self.voltage,
            "current": self.current,
            "energy_used_per_day": self.energy_used_per_day_kwh,
            "analyses.estimated_range": self.range_km,
        }

    def _place(self, at: float) -> tuple[float, float]:
        """Return (cycles completed, seconds into the cycle).

        A parked bus rests at the end of its first cycle.
        """
        if self._is_parked:
            return 0.0, self._cycle_seconds - 1.0
        return divmod(at - ODOMETER_EPOCH + self._c.offset_seconds, self._cycle_seconds)

    def _driven_km(self, into: float) -> float:
        """Return kilometres since the cycle began.

        This is the integral of a speed that rises and falls between two stops.
        """
        c = self._c
        seconds = min(into, c.drive_seconds)
        turn = 2 * pi / c.stop_seconds
        return c.mean_kmh / 3600 * (seconds - sin(turn * seconds) / turn)

    def _used_kwh(self, into: float) -> float:
        driven = self._c.kwh_per_km * self._driven_km(into)
        return driven + AUXILIARY_KW * min(into, self._c.drive_seconds) / 3600

    def mode(self, at: float) -> Mode:
        _, into = self._place(at)
        if into < self._c.drive_seconds:
            return Mode.DRIVING
        charged = into >= self._c.drive_seconds + self._c.charge_seconds
        return Mode.PARKED if charged else Mode.CHARGING

    def speed_kmh(self, at: float) -> float:
        _, into = self._place(at)
        if into >= self._c.drive_seconds:
            return 0.0
        return round(self._c.mean_kmh * (1 - cos(2 * pi * into / self._c.stop_seconds)), 1)

    def odo_km(self, at: float) -> float:
        cycles, into = self._place(at)
        return round(self._c.first_odometer_km + cycles * self._cycle_km + self._driven_km(into), 2)

    def _soc(self, at: float) -> float:
        c = self._c
        _, into = self._place(at)
        missing_kwh = self._used_kwh(into)
        if into > c.drive_seconds:
            missing_kwh *= max(0.0, 1 - (into - c.drive_seconds) / c.charge_seconds)
        return c.high_soc - 100 * missing_kwh / c.capacity_kwh

    def soc(self, at: float) -> float:
        """Return the state of charge in percent, with one decimal."""
        return round(self._soc(at), 1)

    def power_kw(self, at: float) -> float:
        """Return the power in kW: positive out of the battery, negative into it."""
        mode = self.mode(at)
        if mode is Mode.CHARGING:
            return round(-self._cycle_kwh * 3600 / self._c.charge_seconds, 1)
        if mode is Mode.PARKED:
            return 0.0
        return round(self._c.kwh_per_km * self.speed_kmh(at) + AUXILIARY_KW, 1)

    def voltage(self, at: float) -> float:
        return round(560 + 1.2 * self._soc(at), 1)

    def current(self, at: float) -> float:
        return round(self.power_kw(at) * 1000 / self.voltage(at), 1)

    def range_km(self, at: float) -> float:
        return round(self._soc(at) / 100 * self._c.capacity_kwh / self._c.kwh_per_km, 1)

    def total_energy_kwh(self, at: float) -> float:
        """Return the energy drawn from the battery since the odometer's epoch; it never falls."""
        cycles, into = self._place(at)
        first = self._c.first_odometer_km * self._c.kwh_per_km
        return round(first + cycles * self._cycle_kwh + self._used_kwh(into), 3)

    def energy_used_per_day_kwh(self, at: float) -> float:
        """Return the energy used since midnight UTC.

        Vendors mean the vehicle's own midnight; the simulated buses are in UTC.
        """
        midnight = at - at % SECONDS_PER_DAY
        return round(self.total_energy_kwh(at) - self.total_energy_kwh(midnight), 2)

    def _bearing(self, at: float) -> float:
        """Return the bus's place on its loop as an angle in radians."""
        return 2 * pi * (self.odo_km(at) % self._c.loop_km) / self._c.loop_km

    def position(self, at: float) -> tuple[float, float]:
        """Return (latitude, longitude) in degrees, six decimals, on a circle of `loop_km`."""
        angle, radius = self._bearing(at), self._c.loop_km / (2 * pi) / KM_PER_DEGREE
        latitude, longitude = self._c.centre
        east = radius * sin(angle) / cos(radians(latitude))
        return round(latitude + radius * cos(angle), 6), round(longitude + east, 6)

    def heading_degrees(self, at: float) -> int:
        """Return the course, clockwise from north.

        The loop is driven clockwise, so the course is the angle plus a quarter turn.
        """
        return int(degrees(self._bearing(at)) + 90) % 360

    def gps(self, at: float) -> str:
        """Return the position in the stream's form: "lat|lon"."""
        latitude, longitude = self.position(at)
        return f"{latitude}|{longitude}"


def is_vin(text: str) -> bool:
    """Return whether it is a VIN (ISO 3779): 17 characters of an alphabet without I, O and Q."""
    return len(text) == 17 and all(character in VIN_ALPHABET for character in text)


def make_vin(seed: int, serial: int) -> str:
    """Return a vehicle identification number that is unique by its serial (up to eight digits)."""
    chance = Random(seed_from(seed, "vin", serial))
    return "YS4" + "".join(chance.choices(VIN_ALPHABET, k=6)) + f"{serial:08d}"


def city(seed: int, fleet: str) -> tuple[float, float]:
    """Return the centre of a fleet's town: (latitude, longitude)."""
    chance = Random(seed_from(seed, "city", fleet))
    return chance.uniform(50.9, 52.6), chance.uniform(4.4, 6.6)
