"""rFMS pages become samples, oldest first, in our units; bad records cost no good ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import FaultClass, ProviderConnection, Reading
from domain.signals import InvalidValue, check_value
from ports.providers import ProviderFault, Sample
from providers.http import HttpPool
from providers.rfms import Rfms
from providers.rfms.wire import StatusPage, parse_instant, read_page
from providers.samples import MAX_SAMPLES
from tests.providers.servers import loopback_dialler

CREATED = "2026-03-01T12:00:00Z"
AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
POSITION_AT = datetime(2026, 3, 1, 11, 59, 50, tzinfo=UTC)
VIN = "YS2R8X40005399401"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text("aZ0:-", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=6,
)


def _status(**fields: Any) -> dict[str, Any]:
    return {
        "vin": VIN,
        "createdDateTime": CREATED,
        "receivedDateTime": "2026-03-01T12:00:07Z",
    } | fields


def _read(*statuses: Any, **fields: Any) -> StatusPage:
    page = {
        "vehicleStatusResponse": {"vehicleStatuses": list(statuses)},
        "moreDataAvailable": False,
    }
    return read_page(orjson.dumps(page | fields))


def _readings(**snapshot: Any) -> list[tuple[str, Any]]:
    page = _read(_status(snapshotData=snapshot))
    assert page.malformed_count == 0
    return [
        (reading.signal, reading.value) for sample in page.samples for reading in sample.readings
    ]


def test_a_full_status_is_one_sample_in_our_units() -> None:
    status = _status(
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
    assert _read(status).samples == (
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
        ("NOT_AVAILABLE", []),
        ("", []),
        (None, []),
    ],
)
def test_a_charging_status_says_what_it_says_and_no_more(
    status: str | None, readings: list[tuple[str, Any]]
) -> None:
    assert _readings(batteryPackChargingStatus=status) == readings


@pytest.mark.parametrize(
    ("status", "readings"),
    [
        ("CONNECTED", [("plugged_in", True)]),
        ("DISCONNECTED", [("plugged_in", False)]),
        ("CONNECTING", []),
        ("DISCONNECTING", []),
        ("ERROR", []),
        ("NOT_AVAILABLE", []),
    ],
)
def test_only_a_settled_connection_says_whether_it_is_plugged_in(
    status: str, readings: list[tuple[str, Any]]
) -> None:
    assert _readings(batteryPackChargingConnectionStatus=status) == readings


def test_the_positions_speed_replaces_a_missing_wheel_speed() -> None:
    position = {
        "latitude": 0,
        "longitude": 0.0,
        "speed": 51.5,
        "positionDateTime": "2026-03-01T11:59:50Z",
    }
    page = _read(_status(snapshotData={"gnssPosition": position, "wheelBasedSpeed": None}))
    assert page.samples[0].readings == (
        Reading("position", (0, 0.0), POSITION_AT),
        Reading("speed_kmh", 51.5, POSITION_AT),
    )


@pytest.mark.parametrize(
    ("position", "readings"),
    [
        ({"latitude": 57.7, "longitude": 11.9, "speed": 51.5}, []),  # when was it there
        ({"latitude": 57.7, "longitude": 11.9, "speed": 51.5, "positionDateTime": None}, []),
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
    assert _readings(gnssPosition=position) == readings


def test_zero_is_a_value() -> None:
    assert _readings(hybridBatteryPackRemainingCharge=0, wheelBasedSpeed=0.0) == [
        ("speed_kmh", 0.0),
        ("soc_percent", 0),
    ]


def test_a_record_without_news_still_confirms_its_vehicle() -> None:
    page = _read(_status(snapshotData={"batteryPackChargingStatus": "NOT_AVAILABLE"}))
    assert (page.samples, page.answered, page.records, page.ignored) == ((), frozenset({VIN}), 1, 1)


def test_records_come_out_oldest_first() -> None:
    later = _status(createdDateTime="2026-03-01T12:00:00+00:00", hrTotalVehicleDistance=3000)
    first = _status(createdDateTime="2026-03-01T12:30:00+01:00", hrTotalVehicleDistance=1000)
    second = _status(createdDateTime="2026-03-01T11:45:00Z", hrTotalVehicleDistance=2000)
    samples = _read(later, first, second).samples
    assert [sample.readings[0].value for sample in samples] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "record",
    [
        None,
        7,
        [],
        {},
        _status(vin=None),
        _status(vin=""),
        _status(vin=12),
        _status(vin="A\0B"),
        _status(vin="V" * 65),
        _status(createdDateTime=None),
        _status(createdDateTime="yesterday"),
        _status(createdDateTime="2026-03-01T12:00:00"),
        _status(createdDateTime="0001-01-01T00:00:00+23:00"),
        _status(createdDateTime=1_772_366_400),
    ],
)
def test_a_record_without_vin_or_time_is_only_counted(record: object) -> None:
    page = _read(record, _status(hrTotalVehicleDistance=5000))
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),)),)
    assert (page.records, page.malformed_count) == (2, 1)
    assert [bad.sample for bad in page.malformed] == [orjson.dumps(record)]


@pytest.mark.parametrize(
    "snapshot",
    [
        "none",
        {"hybridBatteryPackRemainingCharge": "76"},
        {"hybridBatteryPackRemainingCharge": True},
        {"batteryPackChargingStatus": 3},
        {"estimatedDistanceToEmpty": 150_900},
        {"estimatedTimeBatteryPackChargingCompleted": "2026-03-01T14:30:00"},
        {"gnssPosition": [57.7, 11.9]},
        {"gnssPosition": {"latitude": "57.7", "longitude": None, "positionDateTime": CREATED}},
        {
            "gnssPosition": {
                "latitude": 57.7,
                "longitude": 11.9,
                "positionDateTime": "2026-03-01T12:00:00",
            }
        },
        {"gnssPosition": {"latitude": 57.7, "longitude": 11.9, "positionDateTime": 1_772_366_400}},
    ],
)
def test_a_wrong_field_costs_no_other_reading_of_its_record(
    snapshot: object,
) -> None:
    page = _read(_status(hrTotalVehicleDistance=5000, snapshotData=snapshot))
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),)),)
    assert (page.records, page.malformed_count, page.ignored) == (1, 1, 0)


def test_samples_of_malformed_records_are_few_and_whole() -> None:
    """Cut here, one could hold half a secret: actors/scrubbing.py cuts them."""
    page = _read(*["x" * 10_000] * (MAX_SAMPLES + 5))
    assert page.malformed_count == MAX_SAMPLES + 5
    assert [(bad.occurrences, len(bad.sample)) for bad in page.malformed] == [
        (MAX_SAMPLES + 5, 10_002)
    ]


@pytest.mark.parametrize("levels", [300, 1000])
def test_a_record_nested_too_deeply_costs_no_other_record(
    levels: int,
) -> None:
    good = orjson.dumps(_status(hrTotalVehicleDistance=5000))
    page = read_page(
        b'{"vehicleStatusResponse":{"vehicleStatuses":[%b,%b]}}'
        % (b"[" * levels + b"]" * levels, good)
    )
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),)),)
    assert page.malformed_count == 1
    assert page.malformed[0].sample == b"[" * 21 + b"..." + b"]" * 21


def test_paging_facts_come_from_all_records_in_order() -> None:
    page = _read(
        _status(vin="A", receivedDateTime="2026-03-01T12:00:09Z"),
        _status(vin="B", createdDateTime="?", receivedDateTime="2026-03-01T12:00:05Z"),
        moreDataAvailable=True,
        moreDataAvailableLink="/rfms/vehiclestatuses?lastVin=B",
        requestServerDateTime="2026-03-01T12:01:00.5Z",
    )
    assert (page.has_more, page.link, page.last_vin) == (
        True,
        "/rfms/vehiclestatuses?lastVin=B",
        "B",
    )
    assert page.newest_received_at == datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC)
    assert page.server_time == datetime(2026, 3, 1, 12, 1, 0, 500_000, tzinfo=UTC)
    assert page.answered == frozenset({"A", "B"})
    assert not page.is_in_order
    assert _read(_status(), _status(receivedDateTime=None), _status()).is_in_order


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"vehicleStatusResponse":[]}',
        b'{"vehicleStatusResponse":{"vehicleStatuses":{}}}',
        b'{"VehicleStatus":[]}',  # rFMS 2.1, which has no state of charge
    ],
)
def test_an_answer_that_is_no_page_is_a_protocol_fault(body: bytes) -> None:
    with pytest.raises(ProviderFault) as caught:
        read_page(body)
    assert (caught.value.fault, caught.value.unreadable) == (FaultClass.PROTOCOL, True)


def test_a_forwarded_page_is_read_like_one_of_ours() -> None:
    body = orjson.dumps(
        {"vehicleStatusResponse": {"vehicleStatuses": [_status(hrTotalVehicleDistance=5000), {}]}}
    )
    connection = ProviderConnection("acme", "rfms-1", "rfms", "poll", "https://maker.example", None)
    sample = Sample(VIN, (Reading("odometer_km", 5.0, AT),))
    page = Rfms(HttpPool(loopback_dialler())).interpret(connection, body)
    assert page.samples == (sample,)
    assert (page.answered, page.records, page.malformed_count) == (frozenset({VIN}), 2, 1)
    assert [record.sample for record in page.malformed] == [b"{}"]


def test_an_empty_page_is_a_page() -> None:
    page = _read()
    assert (page.samples, page.records, page.has_more, page.server_time) == ((), 0, False, None)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T12:00:00Z", AT),
        ("2026-03-01T14:00:00+0200", AT),
        ("2026-03-01T12:00:00.1234567Z", AT.replace(microsecond=123_456)),
        ("2026-03-01T12:00:00", None),
        ("2026-03-01", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("", None),
        (None, None),
        (0, None),
    ],
)
def test_an_instant_needs_its_zone(text: object, instant: datetime | None) -> None:
    assert parse_instant(text) == instant


_FIELDS = {
    "vin": st.just(VIN) | json_values,
    "createdDateTime": st.just(CREATED) | json_values,
    "hrTotalVehicleDistance": json_values,
    "snapshotData": json_values
    | st.fixed_dictionaries(
        {},
        optional={
            "gnssPosition": json_values
            | st.fixed_dictionaries(
                {
                    "latitude": json_values,
                    "longitude": json_values,
                    "positionDateTime": st.just(CREATED) | json_values,
                },
                optional={"heading": json_values, "speed": json_values},
            ),
            "batteryPackChargingStatus": json_values,
            "batteryPackChargingPower": json_values,
            "estimatedDistanceToEmpty": json_values
            | st.fixed_dictionaries({"batteryPack": json_values}),
            "estimatedTimeBatteryPackChargingCompleted": json_values,
        },
    ),
}


@given(st.lists(json_values | st.fixed_dictionaries({}, optional=_FIELDS), max_size=4))
def test_any_record_is_accounted_for_without_an_error(statuses: list[Any]) -> None:
    page = _read(*statuses)
    assert page.records == len(statuses)
    assert (
        len(page.samples) + page.ignored
        <= page.records
        <= len(page.samples) + page.ignored + page.malformed_count
    )
    for reading in (reading for sample in page.samples for reading in sample.readings):
        checked = check_value(reading.signal, reading.value)
        assert not isinstance(checked, InvalidValue) or checked.why.startswith(
            ("below", "above", "longer")
        )


@given(st.binary())
def test_bytes_are_a_page_or_a_protocol_fault(body: bytes) -> None:
    with pytest.raises(ProviderFault):
        read_page(body)
