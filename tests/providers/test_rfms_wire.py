"""rFMS pages become samples, oldest first, in our units; bad records cost no good ones."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.model import FaultClass, ProviderConnection, Reading
from domain.signals import InvalidValue, check_value
from ports.providers import ProviderFault, Sample
from providers.http import HttpPool
from providers.rfms import Rfms
from providers.rfms.wire import read_page
from providers.samples import MAX_SAMPLES
from tests.providers.rfms_shapes import (
    AT,
    CREATED,
    RECEIVED_AT,
    VIN,
    json_values,
    read_statuses,
    status_of,
)
from tests.providers.servers import loopback_dialler

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
                status_of(hrTotalVehicleDistance=5000),
                status_of(vin="BAD", hrTotalVehicleDistance=4321, driver1Id={"name": "@@ ]}"}),
                status_of(vin="LAST", hrTotalVehicleDistance=6000),
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


@pytest.mark.parametrize(
    "damage", [b'"M"uller"', b'"Muller\\"', b'{"a":1', b"[1", b"[1]]", b"nan", b""]
)
@pytest.mark.parametrize("places", [{0}, {1}, {3}, {0, 2}, {1, 3}])
def test_a_quote_or_bracket_too_many_costs_its_record_only(damage: bytes, places: set[int]) -> None:
    vins = [f"VIN{place}" for place in range(4)]
    statuses = [status_of(vin=vin, hrTotalVehicleDistance=5000, driver1Id="@@") for vin in vins]
    written = [
        orjson.dumps(status).replace(b'"@@"', damage if place in places else b'"x"')
        for place, status in enumerate(statuses)
    ]
    page = read_page(
        b'{"vehicleStatusResponse": {"vehicleStatuses": [%b]}, "moreDataAvailable": true}'
        % b", ".join(written)
    )
    assert {bad.external_id for bad in page.malformed} == {vins[place] for place in places}
    assert len(page.samples) == len(vins) - len(places)
    assert (page.answered, page.records, page.has_more) == (frozenset(vins), 4, True)


def test_a_damaged_field_costs_no_other_field_of_its_record() -> None:
    status = status_of(hrTotalVehicleDistance=4321, totalElectricEnergyUsed=7000)
    body = orjson.dumps({"vehicleStatusResponse": {"vehicleStatuses": [status]}})
    page = read_page(body.replace(b"4321", b"NaN"))
    assert page.samples[0].readings == (Reading("total_energy_used_kwh", 7.0, AT),)
    assert [(bad.detail, bad.signals, bad.refused_whole) for bad in page.malformed] == [
        ("hrTotalVehicleDistance is not a number", ("odometer_km",), False)
    ]


def test_samples_of_malformed_records_are_few_and_whole() -> None:
    """Cut here, one could hold half a secret: actors/scrubbing.py cuts them."""
    page = read_statuses(*["x" * 10_000] * (MAX_SAMPLES + 5))
    assert page.malformed_count == MAX_SAMPLES + 5
    assert [(bad.occurrences, len(bad.sample)) for bad in page.malformed] == [
        (MAX_SAMPLES + 5, 10_002)
    ]


@pytest.mark.parametrize("levels", [300, 1000])
def test_a_record_nested_too_deeply_costs_no_other_record(
    levels: int,
) -> None:
    good = orjson.dumps(status_of(hrTotalVehicleDistance=5000))
    page = read_page(
        b'{"vehicleStatusResponse":{"vehicleStatuses":[%b,%b]}}'
        % (b"[" * levels + b"]" * levels, good)
    )
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT),)
    assert page.malformed_count == 1
    assert page.malformed[0].sample == b"[" * 21 + b"..." + b"]" * 21


def test_paging_facts_come_from_all_records_in_order() -> None:
    page = read_statuses(
        status_of(vin="A", receivedDateTime="2026-03-01T12:00:09Z"),
        status_of(vin="B", createdDateTime="?", receivedDateTime="2026-03-01T12:00:05Z"),
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
        b"[null]",
        b'{"error":"x"}',
        b'{"error":"x","vehicleStatusResponse":{"vehicleStatuses":[]}}',
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
        {"vehicleStatusResponse": {"vehicleStatuses": [status_of(hrTotalVehicleDistance=5000), {}]}}
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
        (b'{"vehicleStatusResponse":{"count":0}}', False),
        (b'{"vehicleStatusResponse":{},"error":null,"errors":[]}', False),
        (b'{"vehicleStatusResponse":null,"moreDataAvailable":false,"traceId":"x"}', False),
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
    record = orjson.dumps(status_of(hrTotalVehicleDistance=5000))
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
    page = read_statuses(moreDataAvailable=more)
    assert (page.has_more, page.problem, page.announces_more) == (has_more, None, has_more)


@pytest.mark.parametrize("more", [False, "false", 0])
def test_a_link_beside_false_leads_nowhere(more: object) -> None:
    """By the standard there is a link when moreDataAvailable is true."""
    page = read_statuses(moreDataAvailable=more, moreDataAvailableLink="/rfms/next")
    assert (page.link, page.announces_more) == (None, False)


def test_a_link_without_the_flag_says_that_there_is_more() -> None:
    page = read_statuses(moreDataAvailable=None, moreDataAvailableLink="/rfms/next")
    assert (page.link, page.announces_more, page.is_flagged) == ("/rfms/next", True, False)


@pytest.mark.parametrize("name", [f" {VIN}", f"{VIN}\r\n", f"{VIN}\0\0", f"\ufeff{VIN}\u00a0"])
def test_blanks_at_the_ends_of_a_vin_do_not_count(name: str) -> None:
    assert read_statuses(status_of(vin=name)).answered == {VIN}


def test_a_vin_of_digits_may_be_a_number() -> None:
    assert read_statuses(status_of(vin=12345678901234567)).answered == {"12345678901234567"}


@pytest.mark.parametrize("body", [b"null", b"{}"])
def test_an_answer_with_nothing_in_it_is_nothing_new(body: bytes) -> None:
    page = read_page(body)
    assert (page.is_listed, page.announces_more, page.records) == (False, False, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"moreDataAvailable": ""},
        {"moreDataAvailable": "ja"},
        {"moreDataAvailable": 2},
        {"moreDataAvailable": []},
        {"moreDataAvailable": True, "moreDataAvailableLink": 7},
        {"moreDataAvailable": None, "moreDataAvailableLink": True},
        {"moreDataAvailable": None, "moreDataAvailableLink": {"href": "/x"}},
    ],
)
def test_paging_that_cannot_be_read_is_never_the_end(fields: dict[str, Any]) -> None:
    page = read_statuses(status_of(hrTotalVehicleDistance=5000), **fields)
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
    page = read_statuses(*statuses)
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
@example(b"[\x00]")  # a list with one damaged record
def test_bytes_are_a_page_or_a_protocol_fault(body: bytes) -> None:
    with suppress(ProviderFault):
        page = read_page(body)
        assert (page.samples, page.records) == ((), page.malformed_count)


@pytest.mark.parametrize("inner", [None, False, "false"])
def test_more_data_is_announced_at_either_level(inner: object) -> None:
    statuses = {"vehicleStatuses": [status_of()], "moreDataAvailable": inner}
    outer = {"moreDataAvailable": True, "moreDataAvailableLink": "/next"}
    statuses["moreDataAvailableLink"] = None
    page = read_page(orjson.dumps({"vehicleStatusResponse": statuses} | outer))
    assert (page.has_more, page.link, len(page.samples)) == (True, "/next", 0)


@pytest.mark.parametrize("empty", [{"error": None}, {"errors": []}, {"fault": None, "error": ""}])
def test_an_empty_error_is_no_error(empty: dict[str, Any]) -> None:
    page = read_page(orjson.dumps({"vehicleStatusResponse": None} | empty))
    assert (page.records, page.is_listed, page.announces_more) == (0, False, False)
