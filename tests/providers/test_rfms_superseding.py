"""Of records of one vehicle and second, the one that was received later stands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.rfms_shapes import VIN, read_statuses, status_of


def test_the_record_received_later_stands_within_a_second() -> None:
    idle = {
        "batteryPackChargingStatus": "NOT_CHARGING",
        "batteryPackChargingConnectionStatus": "DISCONNECTED",
        "hybridBatteryPackRemainingCharge": 50,
    }
    busy = {
        "batteryPackChargingStatus": "CHARGING_DC",
        "batteryPackChargingConnectionStatus": "CONNECTED",
        "hybridBatteryPackRemainingCharge": 50,
    }
    later = "2026-03-01T12:00:08Z"
    for statuses in (
        (status_of(snapshotData=idle), status_of(snapshotData=busy)),
        (status_of(snapshotData=busy, receivedDateTime=later), status_of(snapshotData=idle)),
    ):
        page = read_statuses(*statuses)
        values: dict[str, set[Any]] = {}
        for sample in page.samples:
            for signal, value, _ in sample.readings:
                values.setdefault(signal, set()).add(value)
        assert values == {
            "charging_status": {"CHARGING_DC"},
            "charging": {True},
            "plugged_in": {True},
            "soc_percent": {50},
        }
        assert page.superseded == 3


def test_records_of_one_second_of_two_vehicles_stay_apart() -> None:
    page = read_statuses(
        status_of(vin="A", hrTotalVehicleDistance=1000),
        status_of(vin="B", hrTotalVehicleDistance=2000),
    )
    assert (len(page.samples), page.superseded) == (2, 0)


@pytest.mark.parametrize("percent", [102.0, 130, -5, "N/A"])
def test_a_value_that_is_none_supersedes_no_good_one(percent: object) -> None:
    """It is kept as well: acceptance refuses and counts it."""
    page = read_statuses(
        status_of(snapshotData={"hybridBatteryPackRemainingCharge": 50}),
        status_of(snapshotData={"hybridBatteryPackRemainingCharge": percent}),
    )
    values = [reading.value for sample in page.samples for reading in sample.readings]
    assert values == [50, "NOT_AVAILABLE" if percent == "N/A" else percent]
    assert page.superseded == 0


def test_records_of_one_vin_in_two_cases_are_of_one_vehicle() -> None:
    page = read_statuses(
        status_of(vin=VIN, hrTotalVehicleDistance=1000),
        status_of(vin=VIN.lower(), hrTotalVehicleDistance=2000),
    )
    assert [(each.external_id, each.readings[0].value) for each in page.samples] == [(VIN, 2.0)]
    assert (set(page.answered), page.superseded) == ({VIN}, 1)
