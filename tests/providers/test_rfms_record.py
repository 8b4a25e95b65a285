"""One rFMS status becomes readings in our units; a wrong field costs no other field."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import orjson
import pytest

from domain.model import Reading
from ports.providers import BadRecord, Sample
from providers.rfms.wire import read_page
from tests.providers.rfms_shapes import (
    AT,
    CREATED,
    POSITION_AT,
    RECEIVED_AT,
    VIN,
    read_statuses,
    readings_of,
    status_of,
)


def test_a_full_status_is_one_sample_in_our_units() -> None:
    status = status_of(
        hrTotalVehicleDistance=34_567_891,
        totalElectricEnergyUsed=123_456_789,
        snapshotData={
            "gnssPosition": {
                "latitude": 57.71727,
                "longitude": 11.921161,
                "heading": 30,
                "altitude": 32,
                "speed": 53.9,
                "positionDateTime": "2026-03-01T12:59:50+01:00",
            },
            "wheelBasedSpeed": 54.3,
            "hybridBatteryPackRemainingCharge": 76.0,
            "batteryPackChargingStatus": "CHARGING_DC",
            "batteryPackChargingConnectionStatus": "CONNECTED",
            "batteryPackChargingPower": 150_000.0,
            "estimatedTimeBatteryPackChargingCompleted": "2026-03-01T14:30:00+01:00",
            "estimatedDistanceToEmpty": {"total": 503_700, "batteryPack": 150_900},
        },
    )
    assert read_statuses(status).samples == (
        Sample(
            VIN,
            (
                Reading("odometer_km", 34_567.891, AT),
                Reading("total_energy_used_kwh", 123_456.789, AT),
                Reading("speed_kmh", 54.3, AT),
                Reading("soc_percent", 76.0, AT),
                Reading("charging_power_kw", 150.0, AT),
                Reading("range_km", 150.9, AT),
                Reading("charging_status", "CHARGING_DC", AT),
                Reading("charging", True, AT),
                Reading("plugged_in", True, AT),
                Reading("charging_complete_at", "2026-03-01T13:30:00Z", AT),
                Reading("position", (57.71727, 11.921161), POSITION_AT),
                Reading("heading_deg", 30, POSITION_AT),
                Reading("altitude_m", 32, POSITION_AT),
            ),
            RECEIVED_AT,
        ),
    )


@pytest.mark.parametrize(
    ("status", "readings"),
    [
        ("NOT_CHARGING", [("charging_status", "NOT_CHARGING"), ("charging", False)]),
        ("CHARGING", [("charging_status", "CHARGING"), ("charging", True)]),
        ("CHARGING_AC", [("charging_status", "CHARGING_AC"), ("charging", True)]),
        ("ERROR", [("charging_status", "ERROR")]),
        ("PAUSED_BY_GRID", [("charging_status", "PAUSED_BY_GRID")]),
        ("NOT CHARGING", [("charging_status", "NOT_CHARGING"), ("charging", False)]),
        ("charging-ac", [("charging_status", "CHARGING_AC"), ("charging", True)]),
        ("NOT_AVAILABLE", []),
        ("Not available", []),
        ("N/A", []),
        ("null", []),
        ("", []),
        (None, []),
    ],
)
def test_a_charging_status_says_what_it_says_and_no_more(
    status: str | None, readings: list[tuple[str, Any]]
) -> None:
    assert readings_of(batteryPackChargingStatus=status) == readings


@pytest.mark.parametrize(
    ("status", "readings"),
    [
        ("CONNECTED", [("plugged_in", True)]),
        ("DISCONNECTED", [("plugged_in", False)]),
        ("CONNECTING", []),
        ("DISCONNECTING", []),
        ("ERROR", []),
        ("NOT_AVAILABLE", []),
        ("n/a", []),
    ],
)
def test_only_a_settled_connection_says_whether_it_is_plugged_in(
    status: str, readings: list[tuple[str, Any]]
) -> None:
    assert readings_of(batteryPackChargingConnectionStatus=status) == readings


def test_the_positions_speed_replaces_a_missing_wheel_speed() -> None:
    position = {
        "latitude": 0,
        "longitude": 0.0,
        "speed": 51.5,
        "positionDateTime": "2026-03-01T11:59:50Z",
    }
    page = read_statuses(
        status_of(snapshotData={"gnssPosition": position, "wheelBasedSpeed": None})
    )
    assert page.samples[0].readings == (
        Reading("position", (0, 0.0), POSITION_AT),
        Reading("speed_kmh", 51.5, POSITION_AT),
    )


@pytest.mark.parametrize(
    ("position", "readings"),
    [
        (  # no time of its own: its record's
            {"latitude": 57.7, "longitude": 11.9, "speed": 51.5},
            [("position", (57.7, 11.9)), ("speed_kmh", 51.5)],
        ),
        (
            {"latitude": 57.7, "longitude": 11.9, "positionDateTime": None},
            [("position", (57.7, 11.9))],
        ),
        (
            {"speed": 51.5, "heading": 30, "altitude": 4, "positionDateTime": CREATED},
            [("heading_deg", 30), ("altitude_m", 4), ("speed_kmh", 51.5)],
        ),
        (
            {"latitude": 57.7, "speed": 51.5, "positionDateTime": CREATED},
            [("latitude_deg", 57.7), ("speed_kmh", 51.5)],  # acceptance refuses the half
        ),
        (
            {"latitude": None, "longitude": 11.9, "positionDateTime": CREATED},
            [("longitude_deg", 11.9)],
        ),
        ({}, []),
    ],
)
def test_a_position_with_gaps_gives_what_it_has(
    position: dict[str, Any], readings: list[tuple[str, Any]]
) -> None:
    assert readings_of(gnssPosition=position) == readings


def test_zero_is_a_value() -> None:
    assert readings_of(hybridBatteryPackRemainingCharge=0, wheelBasedSpeed=0.0) == [
        ("speed_kmh", 0.0),
        ("soc_percent", 0),
    ]


def test_a_record_without_news_still_confirms_its_vehicle() -> None:
    page = read_statuses(status_of(snapshotData={"batteryPackChargingStatus": "NOT_AVAILABLE"}))
    assert (page.samples, page.answered, page.records, page.ignored) == ((), frozenset({VIN}), 1, 1)


def test_records_come_out_oldest_first() -> None:
    later = status_of(createdDateTime="2026-03-01T12:00:00+00:00", hrTotalVehicleDistance=3000)
    first = status_of(createdDateTime="2026-03-01T12:30:00+01:00", hrTotalVehicleDistance=1000)
    second = status_of(createdDateTime="2026-03-01T11:45:00Z", hrTotalVehicleDistance=2000)
    samples = read_statuses(later, first, second).samples
    assert [sample.readings[0].value for sample in samples] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "record",
    [
        None,
        7,
        [],
        {},
        status_of(vin=None),
        status_of(vin=""),
        status_of(vin=1.5),
        status_of(vin=True),
        status_of(vin="  "),
        status_of(vin="A\0B"),
        status_of(vin="V" * 65),
        status_of(createdDateTime=None),
        status_of(createdDateTime="yesterday"),
        status_of(createdDateTime="2026-03-01T12:00:00"),
        status_of(createdDateTime="0001-01-01T00:00:00+23:00"),
        status_of(createdDateTime=12_345),
    ],
)
def test_a_record_without_vin_or_time_is_only_counted(record: object) -> None:
    page = read_statuses(record, status_of(hrTotalVehicleDistance=5000))
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT),)
    assert (page.records, page.malformed_count) == (2, 1)
    assert [bad.sample for bad in page.malformed] == [orjson.dumps(record)]


@pytest.mark.parametrize(
    ("snapshot", "detail", "signals"),
    [
        ("none", "snapshotData is not an object", ()),
        (
            {"hybridBatteryPackRemainingCharge": "full"},
            "hybridBatteryPackRemainingCharge is not a number",
            ("soc_percent",),
        ),
        (
            {"hybridBatteryPackRemainingCharge": True, "wheelBasedSpeed": "1,000"},
            "wheelBasedSpeed is not a number; hybridBatteryPackRemainingCharge is not a number",
            ("speed_kmh", "soc_percent"),
        ),
        (
            {"batteryPackChargingStatus": 3},
            "batteryPackChargingStatus is not a word",
            ("charging_status", "charging"),
        ),
        (
            {"batteryPackChargingConnectionStatus": "PLUGGED"},
            "batteryPackChargingConnectionStatus is not one of the standard's words",
            ("plugged_in",),
        ),
        (
            {"estimatedDistanceToEmpty": 150_900},
            "estimatedDistanceToEmpty is not an object",
            ("range_km",),
        ),
        (
            {"estimatedTimeBatteryPackChargingCompleted": "2026-03-01T14:30:00"},
            "estimatedTimeBatteryPackChargingCompleted is not a time with a zone",
            ("charging_complete_at",),
        ),
        (
            {"gnssPosition": [57.7, 11.9]},
            "gnssPosition is not an object",
            ("latitude_deg", "longitude_deg"),
        ),
        (
            {"gnssPosition": {"latitude": "57.7 N", "longitude": 11.9}},
            "latitude is not a number",
            ("latitude_deg", "longitude_deg"),
        ),
        (
            {
                "gnssPosition": {
                    "latitude": 57.7,
                    "longitude": 11.9,
                    "positionDateTime": "2026-03-01T12:00:00",
                }
            },
            "positionDateTime is not a time with a zone",
            ("latitude_deg", "longitude_deg"),
        ),
    ],
)
def test_a_wrong_field_costs_no_other_reading_of_its_record(
    snapshot: object, detail: str, signals: tuple[str, ...]
) -> None:
    status = status_of(hrTotalVehicleDistance=5000, snapshotData=snapshot)
    page = read_statuses(status)
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT),)
    assert (page.records, page.malformed_count, page.ignored) == (1, 1, 0)
    sample = orjson.dumps(status)
    (bad,) = page.malformed
    assert bad.reception_at is not None, "what is repeated is told by it"
    assert bad == BadRecord(VIN, detail, sample, signals, 1, False, bad.reception_at)


def test_a_field_is_read_in_the_record_and_in_its_snapshot() -> None:
    own = status_of(
        snapshotData={"hrTotalVehicleDistance": 5000, "totalElectricEnergyUsed": 7000},
        hybridBatteryPackRemainingCharge=61.5,
        gnssPosition={"latitude": 52.0, "longitude": 5.0},
    )
    (sample,) = read_statuses(own).samples
    assert {reading.signal: reading.value for reading in sample.readings} == {
        "odometer_km": 5.0,
        "total_energy_used_kwh": 7.0,
        "soc_percent": 61.5,
        "position": (52.0, 5.0),
    }


def test_loose_types_are_read_where_they_can_mean_one_thing() -> None:
    status = status_of(
        createdDateTime="2026-03-01 12:00:00z",
        receivedDateTime="2026-03-01T13:00:07.000+0100",
        hrTotalVehicleDistance="5000",
        snapshotData={
            "hybridBatteryPackRemainingCharge": "61.5",
            "batteryPackChargingStatus": "charging_dc",
            "batteryPackChargingConnectionStatus": " Connected ",
            "batteryPackChargingPower": "NOT_AVAILABLE",
            "gnssPosition": {"latitude": "52.09", "longitude": "5,11", "heading": "120"},
        },
    )
    page = read_statuses(status)
    assert page.malformed == ()
    assert page.samples == (
        Sample(
            VIN,
            (
                Reading("odometer_km", 5.0, AT),
                Reading("soc_percent", 61.5, AT),
                Reading("charging_power_kw", "NOT_AVAILABLE", AT),
                Reading("charging_status", "CHARGING_DC", AT),
                Reading("charging", True, AT),
                Reading("plugged_in", True, AT),
                Reading("position", (52.09, 5.11), AT),
                Reading("heading_deg", 120.0, AT),
            ),
            RECEIVED_AT,
        ),
    )


def test_a_reception_that_cannot_be_read_is_counted() -> None:
    page = read_statuses(status_of(receivedDateTime="today", hrTotalVehicleDistance=5000))
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),)),)
    assert [record.detail for record in page.malformed] == [
        "receivedDateTime is not a time with a zone"
    ]


def test_times_without_a_zone_are_read_in_the_stated_one() -> None:
    status = status_of(
        createdDateTime="2026-03-01T14:00:00",
        receivedDateTime="2026-03-01T14:00:07",
        hrTotalVehicleDistance=5000,
    )
    body = orjson.dumps({"vehicleStatusResponse": {"vehicleStatuses": [status]}})
    assert read_page(body).samples == ()
    sample = Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT)
    assert read_page(body, timezone(timedelta(hours=2))).samples == (sample,)


def test_a_refusal_is_held_only_by_the_newest_record() -> None:
    bad = {"createdDateTime": "soon", "hrTotalVehicleDistance": 4000}
    early, late = "2026-03-01T12:00:01Z", "2026-03-01T12:00:09Z"
    good = status_of(hrTotalVehicleDistance=5000)
    for statuses, refused_whole in (
        ((status_of(**bad, receivedDateTime=early), good), False),
        ((good, status_of(**bad, receivedDateTime=early)), False),
        ((good, status_of(**bad, receivedDateTime=late)), True),
        ((status_of(**bad, receivedDateTime=late), good), True),
        ((good, status_of(**bad, receivedDateTime=None)), True),
        ((status_of(**bad),), True),
        ((status_of(**bad, vin="OTHER"), good), True),
    ):
        assert [record.refused_whole for record in read_statuses(*statuses).malformed] == [
            refused_whole
        ]
