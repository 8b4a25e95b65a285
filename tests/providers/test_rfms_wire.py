"""rFMS pages become samples, oldest first, in our units; bad records cost no good ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import FaultClass, ProviderConnection, Reading
from domain.signals import InvalidValue, check_value
from ports.providers import BadRecord, ProviderFault, Sample
from providers.http import HttpPool
from providers.rfms import Rfms
from providers.rfms.wire import StatusPage, read_page
from providers.samples import MAX_SAMPLES
from tests.providers.servers import loopback_dialler

CREATED = "2026-03-01T12:00:00Z"
AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
POSITION_AT = datetime(2026, 3, 1, 11, 59, 50, tzinfo=UTC)
RECEIVED_AT = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)
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
        _status(createdDateTime=12_345),
    ],
)
def test_a_record_without_vin_or_time_is_only_counted(record: object) -> None:
    page = _read(record, _status(hrTotalVehicleDistance=5000))
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
    status = _status(hrTotalVehicleDistance=5000, snapshotData=snapshot)
    page = _read(status)
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT),)
    assert (page.records, page.malformed_count, page.ignored) == (1, 1, 0)
    sample = orjson.dumps(status)
    assert page.malformed == (BadRecord(VIN, detail, sample, signals, refused_whole=False),)


def test_loose_types_are_read_where_they_can_mean_one_thing() -> None:
    status = _status(
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
    page = _read(status)
    assert page.malformed == ()
    assert page.samples == (
        Sample(
            VIN,
            (
                Reading("odometer_km", 5.0, AT),
                Reading("soc_percent", 61.5, AT),
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
    page = _read(_status(receivedDateTime="today", hrTotalVehicleDistance=5000))
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),)),)
    assert [record.detail for record in page.malformed] == [
        "receivedDateTime is not a time with a zone"
    ]


def test_times_without_a_zone_are_read_in_the_stated_one() -> None:
    status = _status(
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
    good = _status(hrTotalVehicleDistance=5000)
    for statuses, refused_whole in (
        ((_status(**bad, receivedDateTime=early), good), False),
        ((good, _status(**bad, receivedDateTime=early)), False),
        ((good, _status(**bad, receivedDateTime=late)), True),
        ((_status(**bad, receivedDateTime=late), good), True),
        ((good, _status(**bad, receivedDateTime=None)), True),
        ((_status(**bad),), True),
        ((_status(**bad, vin="OTHER"), good), True),
    ):
        assert [record.refused_whole for record in _read(*statuses).malformed] == [refused_whole]


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
        (_status(snapshotData=idle), _status(snapshotData=busy)),
        (_status(snapshotData=busy, receivedDateTime=later), _status(snapshotData=idle)),
    ):
        page = _read(*statuses)
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
    page = _read(
        _status(vin="A", hrTotalVehicleDistance=1000), _status(vin="B", hrTotalVehicleDistance=2000)
    )
    assert (len(page.samples), page.superseded) == (2, 0)


_DAMAGES = {
    "nan": (b"4321", b"NaN"),
    "infinity": (b"4321", b"-Infinity"),
    "beyond": (b"4321", b"1e400"),
    "leading zero": (b"4321", b"04321"),
    "comma": (b"4321", b"4,5"),
    "no value": (b"4321", b""),
    "surrogate": (b"@@", b"\\ud800"),
    "latin-1": (b"@@", b"M\xfcller"),
    "control": (b"@@", b"a\x01b"),
    "newline": (b"@@", b"a\nb"),
    "nul": (b"@@", b"a\x00b"),
    "bad escape": (b"@@", b"\\x"),
}


@pytest.mark.parametrize(("old", "new"), _DAMAGES.values(), ids=_DAMAGES)
def test_the_bytes_of_one_record_cost_no_other(old: bytes, new: bytes) -> None:
    page = {
        "vehicleStatusResponse": {
            "vehicleStatuses": [
                _status(hrTotalVehicleDistance=5000),
                _status(vin="BAD", hrTotalVehicleDistance=4321, driver1Id={"name": "@@ ]}"}),
                _status(vin="LAST", hrTotalVehicleDistance=6000),
            ]
        },
        "moreDataAvailable": True,
    }
    body = orjson.dumps(page)
    assert body.count(old) == 1
    read = read_page(body.replace(old, new))
    assert {"BAD", VIN, "LAST"} == read.answered
    assert {sample.external_id for sample in read.samples} >= {VIN, "LAST"}
    assert (read.records, read.malformed_count, read.has_more) == (3, 1, True)
    (record,) = read.malformed
    assert record.external_id == "BAD"
    assert new in record.sample


def test_a_damaged_field_costs_no_other_field_of_its_record() -> None:
    status = _status(hrTotalVehicleDistance=4321, totalElectricEnergyUsed=7000)
    body = orjson.dumps({"vehicleStatusResponse": {"vehicleStatuses": [status]}})
    page = read_page(body.replace(b"4321", b"NaN"))
    assert page.samples[0].readings == (Reading("total_energy_used_kwh", 7.0, AT),)
    assert [(bad.detail, bad.signals, bad.refused_whole) for bad in page.malformed] == [
        ("hrTotalVehicleDistance is not a number", ("odometer_km",), False)
    ]


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
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT),)
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
    assert page.order.newest_received_at == datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC)
    assert page.server_time == datetime(2026, 3, 1, 12, 1, 0, 500_000, tzinfo=UTC)
    assert page.answered == frozenset({"A", "B"})
    assert not page.order.by_reception


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"7",
        b"null",
        b'{"error":"x"}',
        b'{"error":"x","vehicleStatusResponse":{}}',
        b'{"vehicleStatusResponse":{"error":"x"}}',
        b'{"vehicleStatusResponse":{"vehiclePositions":[]}}',
        b'{"vehicleStatusResponse":7}',
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
    sample = Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT)
    page = Rfms(HttpPool(loopback_dialler())).interpret(connection, body)
    assert page.samples == (sample,)
    assert (page.answered, page.records, page.malformed_count) == (frozenset({VIN}), 2, 1)
    assert [record.sample for record in page.malformed] == [b"{}"]


@pytest.mark.parametrize(
    ("body", "is_listed"),
    [
        (b"{}", False),
        (b"[]", True),
        (b'{"moreDataAvailable":false,"requestServerDateTime":"2026-03-01T12:00:00Z"}', False),
        (b'{"vehicleStatusResponse":{}}', False),
        (b'{"vehicleStatusResponse":null}', False),
        (b'{"vehicleStatusResponse":[]}', True),
        (b'{"vehicleStatusResponse":{"vehicleStatuses":null}}', False),
        (b'{"vehicleStatusResponse":{"vehicleStatuses":[]}}', True),
        (b'{"vehicleStatuses":[],"moreDataAvailable":false}', True),
    ],
)
def test_an_answer_without_records_is_a_page(body: bytes, is_listed: bool) -> None:
    page = read_page(body)
    assert (page.samples, page.records, page.announces_more, page.is_listed) == (
        (),
        0,
        False,
        is_listed,
    )


@pytest.mark.parametrize(
    "form",
    [
        b"[%b]",
        b'{"vehicleStatuses":[%b]}',
        b'{"vehicleStatusResponse":[%b]}',
        b'{"vehicleStatusResponse":{"vehicleStatuses":[%b]}}',
    ],
)
def test_a_list_is_read_in_each_wrapping(form: bytes) -> None:
    record = orjson.dumps(_status(hrTotalVehicleDistance=5000))
    sample = Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT)
    assert read_page(form % record).samples == (sample,)
    damaged = b'{"vin":"BAD","createdDateTime":NaN}'
    page = read_page(form % (record + b"," + damaged))
    assert page.samples == (sample,)
    assert [bad.external_id for bad in page.malformed] == ["BAD"]


@pytest.mark.parametrize(
    ("more", "has_more"),
    [(True, True), ("true", True), (1, True), ("1", True), ("False", False), (0, False)],
)
def test_more_pages_are_announced_in_several_types(more: object, has_more: bool) -> None:
    page = _read(moreDataAvailable=more)
    assert (page.has_more, page.problem, page.announces_more) == (has_more, None, has_more)


@pytest.mark.parametrize(
    "fields",
    [
        {"moreDataAvailable": ""},
        {"moreDataAvailable": "ja"},
        {"moreDataAvailable": 2},
        {"moreDataAvailable": []},
        {"moreDataAvailableLink": 7},
        {"moreDataAvailableLink": True},
        {"moreDataAvailableLink": {"href": "/x"}},
    ],
)
def test_paging_that_cannot_be_read_is_never_the_end(fields: dict[str, Any]) -> None:
    page = _read(_status(hrTotalVehicleDistance=5000), **fields)
    assert len(page.samples) == 1
    assert page.announces_more
    assert page.problem is not None


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
