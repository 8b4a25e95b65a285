"""The demo's fleets: three on the stream and two on rFMS, each with vehicles of every fault.

Owns the choice of vehicles. Every duration is an argument, because the thresholds of the service
that collects from the fleets decide what counts as silent or delayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Final

from simulator.chance import seed_from
from simulator.config import SimulatorConfig, Tenant, Vendor, plain_fleet
from simulator.faults import Faults
from simulator.reporting import CHATTY, Reporting

if TYPE_CHECKING:
    from simulator.fleet import VehicleSpec

_NAMES: Final = ("harbour", "northline", "oldtown", "riverside", "westgate")
_STREAMS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPace:
    """The pace of the demo, in seconds after the simulator's start or between two events.

    `rate` is frames per second and vehicle.
    """

    rate: float = 4.0
    report_interval_seconds: float = 3.0
    silent_after_seconds: float = 15.0
    rhythm_seconds: float = 20.0
    signal_stops_after_seconds: float = 10.0
    disconnect_every_seconds: float = 25.0
    latency_seconds: float = 0.5


def demo_config(seed: int = 0, pace: DemoPace | None = None) -> SimulatorConfig:
    """Five tenants of 8 to 14 vehicles.

    In each, one or two vehicles never report, one falls silent for good, one reports only now and
    then, and one loses its state of charge but goes on sending its position. The others report all
    the time. The third tenant, `oldtown`, answers slowly.
    """
    pace = pace or DemoPace()
    chance = Random(seed_from(seed, "demo"))
    tenants = []
    for number, name in enumerate(_NAMES):
        vendor = Vendor.VIRICITI if number < _STREAMS else Vendor.RFMS
        silent_ones = chance.choice((1, 2))
        vehicles = _demo_vehicles(seed, number, vendor, chance.randint(8, 14), silent_ones, pace)
        credential = f"demo-{name}-{seed_from(seed, name):016x}"
        faults = _mild_faults(pace, latency=pace.latency_seconds if name == "oldtown" else 0.0)
        tenants.append(
            Tenant(
                name=name,
                vendor=vendor,
                credential=credential,
                vehicles=vehicles,
                faults=faults,
            )
        )
    return SimulatorConfig(tenants=tuple(tenants), seed=seed)


def _mild_faults(pace: DemoPace, latency: float) -> Faults:
    return Faults(
        duplicates=0.02,
        out_of_order=0.01,
        malformed=0.0025,
        non_object=0.0025,
        disconnect_every=pace.disconnect_every_seconds,
        latency=latency,
    )


def _demo_vehicles(
    seed: int, tenant: int, vendor: Vendor, count: int, silent_ones: int, pace: DemoPace
) -> tuple[VehicleSpec, ...]:
    """Return a plain fleet of the tenant's size whose first few vehicles misbehave."""
    plain = plain_fleet(seed, vendor, tenant, count, pace.rate, pace.report_interval_seconds)
    parts = (
        *(Reporting(never=True),) * silent_ones,
        Reporting(silent_after_seconds=pace.silent_after_seconds),
        Reporting(every_seconds=pace.rhythm_seconds),
        Reporting(stopped_labels=(("soc", pace.signal_stops_after_seconds),)),
    )
    return tuple(
        replace(vehicle, reporting=parts[number] if number < len(parts) else CHATTY)
        for number, vehicle in enumerate(plain)
    )
