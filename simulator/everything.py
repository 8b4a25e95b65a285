"""Fleets with every fault at once: each lasting misbehaviour on a few vehicles of every account.

Owns the choice: half of the accounts are on the stream and half on rFMS, each has the quirks of
single vehicles, and each has one trouble of its own. A run against these fleets shows whether a
reader of them blames the right side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from simulator.chance import seed_from
from simulator.config import ConfigInvalid, SimulatorConfig, Tenant, Vendor, plain_fleet
from simulator.faults import parse_faults

if TYPE_CHECKING:
    from collections.abc import Collection

ACCOUNTS: Final = 8
MIN_VEHICLES: Final = 23  # one for each misbehaviour, and two without any
_SHARE: Final = 0.02  # of the vehicles, rounded up: one in a fleet of 25
_STREAM_ONLY: Final = ("vehicle_errors",)
_RFMS_ONLY: Final = ("position_without_time", "same_second", "other_case")
_BOTH: Final = (
    *("never", "silent", "signal_stops", "late"),
    *("malformed_records", "clock_ahead", "clock_fast", "clock_behind", "clock_set_back"),
    *("repeats", "left_out", "loose_types", "refused_signal", "bad_bytes"),
    *("half_position", "fill_values", "first_record_old", "empties_buffer"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EverythingPace:
    """How fast everything goes, in seconds.

    `trouble_every`, `trouble_for`: an account's own trouble. `begins_after`: when vehicles fall
    silent, leave the account or set their clocks back. `reconnect_every`: about how often the
    streams of one account end. `held_back`: how long one account keeps everything back.
    """

    rate: float = 6.0
    report_interval: float = 2.0
    trouble_every: float = 120.0
    trouble_for: float = 45.0
    begins_after: float = 30.0
    reconnect_every: float = 120.0
    held_back: float = 4.0

    def times(self, factor: float) -> EverythingPace:
        """Return the pace at which troubles come and go so many times as fast."""
        return replace(
            self,
            trouble_every=self.trouble_every / factor,
            trouble_for=self.trouble_for / factor,
            begins_after=self.begins_after / factor,
            reconnect_every=self.reconnect_every / factor,
        )


def everything_config(
    devices: int = 200,
    seed: int = 0,
    pace: EverythingPace | None = None,
    without: Collection[str] = (),
) -> SimulatorConfig:
    """Return eight accounts over which `devices` are split evenly, four for each vendor.

    `without`: names of faults that are left out.
    Raises ConfigInvalid if they are too few for every misbehaviour in every account.
    """
    if devices < ACCOUNTS * MIN_VEHICLES:
        raise ConfigInvalid(
            f"{devices} devices are too few: {ACCOUNTS} accounts need {MIN_VEHICLES} each, "
            f"{ACCOUNTS * MIN_VEHICLES} in all"
        )
    pace = pace or EverythingPace()
    tenants = []
    for number, (name, vendor, own) in enumerate(_accounts(pace)):
        count = devices // ACCOUNTS + (number < devices % ACCOUNTS)
        vehicles = plain_fleet(seed, vendor, number, count, pace.rate, pace.report_interval)
        credential = f"everything-{name}-{seed_from(seed, name):016x}"
        values = {**_quirks(vendor, pace), **own}
        faults = parse_faults(_flags({n: v for n, v in values.items() if n not in without}))
        tenants.append(
            Tenant(
                name=name,
                vendor=vendor,
                credential=credential,
                vehicles=vehicles,
                faults=faults,
                page_size=20,
            )
        )
    return SimulatorConfig(tenants=tuple(tenants), seed=seed)


def _accounts(pace: EverythingPace) -> tuple[tuple[str, Vendor, dict[str, float]], ...]:
    every, length = pace.trouble_every, pace.trouble_for
    outage = {"outage_every": every, "outage_for": length}
    quota = {"quota_every": every, "quota_for": length}
    refusal = {"refusal_every": every, "refusal_for": length}
    return (
        ("stream-outage", Vendor.VIRICITI, outage),
        ("stream-refused", Vendor.VIRICITI, refusal),
        ("stream-restless", Vendor.VIRICITI, {"disconnect_every": pace.reconnect_every}),
        ("stream-noisy", Vendor.VIRICITI, _noise()),
        ("rfms-outage", Vendor.RFMS, outage),
        ("rfms-quota", Vendor.RFMS, quota),
        ("rfms-unsorted", Vendor.RFMS, {"unsorted_pages": 1.0, "legal_forms": 0.5}),
        (
            "rfms-held-back",
            Vendor.RFMS,
            {"held_back_seconds": pace.held_back, "created_order": 1.0},
        ),
    )


def _noise() -> dict[str, float]:
    frames = dict.fromkeys(("duplicates", "out_of_order", "malformed", "non_object"), 0.01)
    return {**frames, "legal_forms": 0.5, "latency": 0.1}


def _quirks(vendor: Vendor, pace: EverythingPace) -> dict[str, float]:
    own = _STREAM_ONLY if vendor is Vendor.VIRICITI else _RFMS_ONLY
    return {
        **dict.fromkeys((*_BOTH, *own), _SHARE),
        "silent_after": pace.begins_after,
        "quirks_after": pace.begins_after,
        "signal_stops_after": pace.begins_after,
        "late_seconds": 3.0,
    }


def _flags(values: dict[str, float]) -> str:
    return ",".join(f"{name}={value:g}" for name, value in values.items())
