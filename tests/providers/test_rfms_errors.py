"""An error in the place of a truck's record, or beside the list, confirms nothing of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from domain.model import FaultClass, Reading
from ports.providers import ProviderFault, Sample
from providers.error_reports import VEHICLE_ERROR
from providers.rfms.wire import read_page
from tests.providers.rfms_shapes import AT, RECEIVED_AT, VIN, read_statuses, status_of

GOOD = status_of(vin="GOOD", hrTotalVehicleDistance=5000)
SAMPLE = Sample("GOOD", (Reading("odometer_km", 5.0, AT),), RECEIVED_AT)
TIMEOUT = {"code": 504, "message": "upstream timeout"}
WORDS = "504 upstream timeout"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"vin": VIN, "error": TIMEOUT}, WORDS),
        ({"vin": VIN, "error": "offline"}, "offline"),
        ({"vin": VIN, "errors": [TIMEOUT]}, WORDS),
        ({"vin": f" {VIN}\n", "fault": TIMEOUT}, WORDS),
        ({"vin": VIN, **TIMEOUT}, WORDS),
        ({"vin": VIN, "status": 404}, "404"),
        ({"vin": VIN, "success": False}, "no details"),
        (status_of(error=TIMEOUT), WORDS),
        (status_of(error=TIMEOUT, snapshotData={}), WORDS),
    ],
)
def test_an_error_for_one_truck_is_no_answer_about_it(record: Any, words: str) -> None:
    page = read_statuses(record, GOOD)
    assert (dict(page.errors), set(page.answered)) == ({VIN: words}, {"GOOD"})
    assert page.samples == (SAMPLE,)
    shown = [(bad.external_id, bad.detail, bad.refused_whole) for bad in page.malformed]
    assert shown == [(VIN, VEHICLE_ERROR, False)]


@pytest.mark.parametrize(
    "record",
    [status_of(error=None), status_of(errors=[]), status_of(status="ok"), status_of(message="x")],
)
def test_a_record_with_data_and_no_error_is_an_answer(record: Any) -> None:
    page = read_statuses(record)
    assert (dict(page.errors), set(page.answered), page.malformed) == ({}, {VIN}, ())


def test_data_beside_an_error_is_read() -> None:
    page = read_statuses(status_of(hrTotalVehicleDistance=5000, error="partial"))
    assert page.samples == (Sample(VIN, (Reading("odometer_km", 5.0, AT),), RECEIVED_AT),)
    assert (dict(page.errors), set(page.answered)) == ({VIN: "partial"}, set())


@pytest.mark.parametrize("inside", [True, False], ids=["inside the wrapper", "outside"])
def test_an_error_beside_the_list_is_about_the_truck_it_names(inside: bool) -> None:
    errors = {"errors": [{"vin": VIN, **TIMEOUT}]}
    response = {"vehicleStatuses": [GOOD], **(errors if inside else {})}
    page = read_page(
        orjson.dumps({"vehicleStatusResponse": response, **({} if inside else errors)})
    )
    assert (dict(page.errors), set(page.answered)) == ({VIN: WORDS}, {"GOOD"})
    assert (page.problem, page.malformed_count, page.last_vin) == (None, 1, "GOOD")


def test_an_error_that_names_no_truck_makes_the_answer_doubtful() -> None:
    """The records are kept. Of the others nobody knows whether they were left out."""
    page = read_statuses(GOOD, error=TIMEOUT)
    assert page.samples == (SAMPLE,)
    assert page.announces_more
    assert page.problem is not None


def test_an_error_beside_an_empty_list_is_a_fault() -> None:
    """Taken as a roster, it would say that the whole fleet left."""
    with pytest.raises(ProviderFault) as caught:
        read_statuses(error=TIMEOUT)
    assert (caught.value.fault, caught.value.unreadable) == (FaultClass.PROTOCOL, True)
