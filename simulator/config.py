"""The configuration of a simulator: tenants with their credential, vehicles and faults.

Owns the configuration, its validation and a builder. Pure and seeded: the same arguments give an
equal configuration in every process, so a service and its simulator can each build it and agree on
every vehicle and credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Final

from simulator.chance import seed_from
from simulator.faults import NO_FAULTS, Faults, parse_faults
from simulator.fleet import Duty, VehicleSpec, is_vin, make_vin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.legacy_faults import LegacyFaults

DAY_SECONDS: Final = 86_400.0


class ConfigInvalid(ValueError):
    """The configuration contradicts itself; the message says where."""


class Vendor(StrEnum):
    """The providers that are simulated."""

    VIRICITI = "viriciti"
    RFMS = "rfms"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The number of calls allowed per window and resource, as rFMS tells it in X-Rate-Limit-*."""

    calls: int
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer's fleet at one provider.

    credential: the x-api-key (viriciti) or bearer token (rfms) of this fleet.
    authorisation_delay_seconds: between the echo of a subscription and its first data (viriciti).
    page_size, rate_limit, retention_seconds, max_statuses: for rfms only. The standard asks for two
    weeks of statuses; `max_statuses` bounds the memory, and the oldest are dropped first.
    """

    name: str
    vendor: Vendor
    credential: str
    vehicles: tuple[VehicleSpec, ...]
    faults: Faults = NO_FAULTS
    authorisation_delay_seconds: float = 0.2
    page_size: int = 100
    rate_limit: RateLimit | None = None
    retention_seconds: float = 14 * DAY_SECONDS
    max_statuses: int = 200_000

    def __post_init__(self) -> None:
        ids = [vehicle.vehicle_id for vehicle in self.vehicles]
        if len(set(ids)) != len(ids):
            raise ConfigInvalid(f"tenant {self.name}: vehicle ids must be unique within a tenant")
        wrong = [vin for vin in ids if not is_vin(vin)] if self.vendor is Vendor.RFMS else []
        if wrong:
            raise ConfigInvalid(
                f"tenant {self.name}: {wrong[0]!r} is no VIN (17 characters without I, O, Q)"
            )
        if self.page_size < 1 or self.max_statuses < 1:
            raise ConfigInvalid(
                f"tenant {self.name}: page_size and max_statuses must be at least 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """The configuration of one simulator process.

    tick_seconds: how finely frames are spread over time. write_deadline_seconds, max_outbox_bytes:
    a reader that is slower than either allows is disconnected, as a vendor would do. legacy: the
    faults of the legacy system with which the simulator begins; None for no such system.
    """

    tenants: tuple[Tenant, ...]
    seed: int = 0
    tick_seconds: float = 0.02
    write_deadline_seconds: float = 5.0
    max_outbox_bytes: int = 4 * 1024 * 1024
    max_connection_entries: int = 10_000
    legacy: LegacyFaults | None = None

    def __post_init__(self) -> None:
        names = [tenant.name for tenant in self.tenants]
        keys = [(tenant.vendor, tenant.credential) for tenant in self.tenants]
        if len(set(names)) != len(names):
            raise ConfigInvalid("tenant names must be unique")
        if len(set(keys)) != len(keys):
            raise ConfigInvalid(
                "two tenants of one provider cannot share a credential: it tells them apart"
            )


def build_config(
    *,
    devices: int,
    tenants: int = 1,
    rate: float = 1.0,
    faults: str | Faults = NO_FAULTS,
    seed: int = 0,
    rfms_tenants: int = 0,
    report_interval_seconds: float = 60.0,
    credentials: Sequence[str] = (),
) -> SimulatorConfig:
    """Return tenants over which `devices` are split evenly; the last `rfms_tenants` use rFMS.

    The other tenants use the stream. `rate` is frames per second and vehicle. Credentials that are
    not given are derived from the seed. Raises ConfigInvalid or FaultsInvalid with a message fit
    for a command line.
    """
    if not 0 < tenants <= devices:
        raise ConfigInvalid(
            f"{devices} devices cannot fill {tenants} tenants; each needs at least one"
        )
    if not 0 <= rfms_tenants <= tenants:
        raise ConfigInvalid(f"{rfms_tenants} of {tenants} tenants cannot use rFMS")
    for name, value in (("rate", rate), ("report interval", report_interval_seconds)):
        if not 0.0 <= value < inf:  # false for NaN
            raise ConfigInvalid(f"the {name} must be a number from 0 on, not {value:g}")
    judged = parse_faults(faults) if isinstance(faults, str) else faults
    base, extra = divmod(devices, tenants)
    built = []
    for number in range(tenants):
        vendor = Vendor.VIRICITI if number < tenants - rfms_tenants else Vendor.RFMS
        count = base + (number < extra)
        vehicles = plain_fleet(seed, vendor, number, count, rate, report_interval_seconds)
        given = (
            credentials[number] if number < len(credentials) else _credential(seed, vendor, number)
        )
        name = f"fleet-{number + 1:02d}"
        built.append(
            Tenant(name=name, vendor=vendor, credential=given, vehicles=vehicles, faults=judged)
        )
    return SimulatorConfig(tenants=tuple(built), seed=seed)


def vehicle_id(seed: int, vendor: Vendor, tenant: int, number: int) -> str:
    """Return `bus_0001` for the stream, or a VIN for rFMS; `number` counts from 1.

    The first is unique within a tenant, the second among all tenants.
    """
    if vendor is Vendor.VIRICITI:
        return f"bus_{number:04d}"
    return make_vin(seed, (tenant + 1) * 100_000 + number)


def plain_fleet(
    seed: int,
    vendor: Vendor,
    tenant: int,
    count: int,
    rate: float,
    report_interval_seconds: float,
) -> tuple[VehicleSpec, ...]:
    """Return vehicles without faults; every tenth is parked.

    `tenant` counts from 0 and makes VINs of different tenants differ.
    """
    return tuple(
        VehicleSpec(
            vehicle_id=vehicle_id(seed, vendor, tenant, number),
            name=f"{1000 * (tenant + 1) + number}",
            duty=Duty.PARKED if number % 10 == 0 else Duty.LINE,
            rate=rate,
            report_interval_seconds=report_interval_seconds,
        )
        for number in range(1, count + 1)
    )


def _credential(seed: int, vendor: Vendor, number: int) -> str:
    """Return a credential that looks like the vendor's: a UUID for the stream, a token for rFMS.

    It is not valid anywhere else.
    """
    first, second = seed_from(seed, "credential", vendor, number), seed_from(seed, "more", number)
    digits = f"{first:016x}{second:016x}"
    if vendor is Vendor.RFMS:
        return f"rfms-{digits}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
