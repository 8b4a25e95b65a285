"""Small simulated fleets that report every second or faster, with faults on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.config import Tenant, Vendor
from simulator.faults import parse_faults
from simulator.fleet import VehicleSpec, make_vin
from simulator.reporting import CHATTY, Reporting

if TYPE_CHECKING:
    from collections.abc import Sequence

SILENT = Reporting(never=True)


def polled(
    name: str,
    count: int = 2,
    *,
    every: float = 1.0,
    faults: str = "",
    manners: Sequence[Reporting] = (),
    **more: Any,
) -> Tenant:
    """Make an rFMS fleet whose vehicles write a record every `every` seconds.

    `manners`: how the first vehicles report.
    """
    vehicles = tuple(
        VehicleSpec(
            vin(number),
            f"{1000 + number}",
            report_interval_seconds=every,
            reporting=_nth(manners, number),
        )
        for number in range(count)
    )
    return _tenant(name, Vendor.RFMS, vehicles, faults, more)


def streamed(
    name: str,
    count: int = 2,
    *,
    rate: float = 10.0,
    faults: str = "",
    manners: Sequence[Reporting] = (),
    **more: Any,
) -> Tenant:
    """Make a ViriCiti fleet whose vehicles each send `rate` frames per second."""
    vehicles = tuple(
        VehicleSpec(bus(number), f"{1000 + number}", rate=rate, reporting=_nth(manners, number))
        for number in range(count)
    )
    return _tenant(
        name, Vendor.VIRICITI, vehicles, faults, {"authorisation_delay_seconds": 0.0} | more
    )


def vin(number: int) -> str:
    """Return the id of the vehicle at this place in any polled fleet."""
    return make_vin(7, number)


def bus(number: int) -> str:
    """Return the id of the vehicle at this place in any streamed fleet."""
    return f"bus_{number:04d}"


def _tenant(
    name: str,
    vendor: Vendor,
    vehicles: tuple[VehicleSpec, ...],
    faults: str,
    more: dict[str, Any],
) -> Tenant:
    credential = f"{name}-opens-only-a-simulator"
    return Tenant(
        name=name,
        vendor=vendor,
        credential=credential,
        vehicles=vehicles,
        faults=parse_faults(faults),
        **more,
    )


def _nth(manners: Sequence[Reporting], number: int) -> Reporting:
    return manners[number] if number < len(manners) else CHATTY
