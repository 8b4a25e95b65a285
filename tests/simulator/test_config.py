"""Descriptions: what is refused, and what the two builders make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.config import ConfigInvalid, SimulatorConfig, Tenant, Vendor, build_config
from simulator.demo import DemoPace, demo_config
from simulator.faults import FaultsInvalid
from simulator.fleet import VehicleSpec, is_vin
from simulator.reporting import CHATTY
from tests.simulator.conftest import harbour, westgate


def test_devices_are_split_evenly_over_tenants_of_both_kinds() -> None:
    config = build_config(
        devices=25, tenants=3, rfms_tenants=1, rate=2.0, faults="duplicates=0.1", seed=3
    )
    assert [
        (tenant.name, str(tenant.vendor), len(tenant.vehicles)) for tenant in config.tenants
    ] == [
        ("fleet-01", "viriciti", 9),
        ("fleet-02", "viriciti", 8),
        ("fleet-03", "rfms", 8),
    ]
    assert config.tenants[0].vehicles[0].vehicle_id == "bus_0001"
    assert all(is_vin(vehicle.vehicle_id) for vehicle in config.tenants[2].vehicles)
    assert config.tenants[1].faults.duplicates == 0.1


def test_the_same_arguments_build_an_equal_configuration() -> None:
    assert build_config(devices=30, tenants=3, seed=3) == build_config(
        devices=30, tenants=3, seed=3
    )
    assert demo_config(3) == demo_config(3)
    assert demo_config(3) != demo_config(4)


def test_given_credentials_are_used_and_the_others_differ() -> None:
    tenants = build_config(devices=30, tenants=3, credentials=["mine"]).tenants
    assert tenants[0].credential == "mine"
    assert len({tenant.credential for tenant in tenants}) == 3


@pytest.mark.parametrize(
    ("devices", "tenants", "rfms_tenants", "complaint"),
    [
        (3, 4, 0, "3 devices cannot fill 4 tenants"),
        (0, 1, 0, "cannot fill"),
        (9, 2, 3, "3 of 2 tenants"),
    ],
)
def test_impossible_numbers_are_refused(
    devices: int, tenants: int, rfms_tenants: int, complaint: str
) -> None:
    with pytest.raises(ConfigInvalid, match=complaint):
        build_config(devices=devices, tenants=tenants, rfms_tenants=rfms_tenants)


@pytest.mark.parametrize("value", [float("nan"), -1.0, float("inf")])
def test_a_pace_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigInvalid, match="the rate must be a number from 0 on"):
        build_config(devices=1, rate=value)
    with pytest.raises(ConfigInvalid, match="the report interval must be a number from 0 on"):
        build_config(devices=1, report_interval_seconds=value)


def test_a_wrong_fault_flag_reaches_the_caller() -> None:
    with pytest.raises(FaultsInvalid, match="unknown fault"):
        build_config(devices=1, faults="gremlins=1")


def test_two_tenants_of_one_provider_cannot_share_a_credential() -> None:
    with pytest.raises(ConfigInvalid, match="credential"):
        SimulatorConfig(tenants=(harbour(), replace(harbour(), name="other")))


def test_tenant_names_are_unique() -> None:
    with pytest.raises(ConfigInvalid, match="names must be unique"):
        SimulatorConfig(tenants=(harbour(), replace(westgate(), name="harbour")))


@pytest.mark.parametrize("ids", [("bus_0001",), ("YS4ABCDEF0000001Q",)])
def test_an_rfms_vehicle_needs_a_vin(ids: tuple[str, ...]) -> None:
    with pytest.raises(ConfigInvalid, match="no VIN"):
        Tenant(
            name="x",
            vendor=Vendor.RFMS,
            credential="t",
            vehicles=tuple(VehicleSpec(i, i) for i in ids),
        )


def test_vehicle_ids_are_unique_within_a_tenant() -> None:
    twice = (VehicleSpec("bus_0001", "a"), VehicleSpec("bus_0001", "b"))
    with pytest.raises(ConfigInvalid, match="unique within a tenant"):
        Tenant(name="x", vendor=Vendor.VIRICITI, credential="k", vehicles=twice)


@pytest.mark.parametrize("seed", range(5))
def test_every_demo_fleet_has_its_cast(seed: int) -> None:
    config = demo_config(seed, DemoPace(silent_after_seconds=9, rhythm_seconds=21))
    assert [str(tenant.vendor) for tenant in config.tenants] == ["viriciti"] * 3 + ["rfms"] * 2
    for tenant in config.tenants:
        manners = [vehicle.reporting for vehicle in tenant.vehicles]
        assert 8 <= len(manners) <= 14
        assert sum(each.never for each in manners) in (1, 2)
        assert sum(each.silent_after_seconds == 9 for each in manners) == 1
        assert sum(each.every_seconds == 21 for each in manners) == 1
        assert sum(bool(each.stopped_labels) for each in manners) == 1
        assert manners.count(CHATTY) >= 3


def test_one_demo_tenant_answers_slowly() -> None:
    assert [tenant.faults.latency for tenant in demo_config().tenants] == [0, 0, 0.5, 0, 0]


def test_no_vehicle_belongs_to_two_rfms_fleets() -> None:
    fleets = [
        {vehicle.vehicle_id for vehicle in tenant.vehicles} for tenant in demo_config().tenants[3:]
    ]
    assert not fleets[0] & fleets[1]
