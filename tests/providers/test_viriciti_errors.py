"""An error in the place of a vehicle's labels confirms nothing, and is shown in words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from domain.model import Reading
from ports.providers import ProviderFault, Sample
from providers.error_reports import VEHICLE_ERROR
from providers.viriciti.answers import interpret_message, interpret_state
from providers.viriciti.errors import error_of_vehicle
from tests.providers.viriciti_shapes import AT, MS, is_dumpable, json_values, nested

SOC = {"soc": {"time": MS, "value": 60.0}}
TIMEOUT = {"code": 504, "message": "upstream timeout"}

ERRORS: list[tuple[Any, str]] = [
    ({"error": TIMEOUT}, "504 upstream timeout"),
    ({"error": "no such vehicle"}, "no such vehicle"),
    ({"error": 504}, "504"),
    ({"error": {"status": 404, "detail": "not found"}}, "404 not found"),
    ({"error": {}, "errors": ["no route", "again"]}, "no route"),
    ({"errors": [TIMEOUT]}, "504 upstream timeout"),
    ({"error": True}, "no details"),
    ({"error": TIMEOUT, **SOC}, "504 upstream timeout"),
    (TIMEOUT, "504 upstream timeout"),
    ({"message": "unauthorised"}, "unauthorised"),
    ("offline", "offline"),
    (False, "no labels, but false"),
    (0, "no labels, but 0"),
    ("", "no labels, but empty text"),
    (" ", "no labels, but empty text"),
    ({"status": 404}, "404"),
    ({"statusCode": 504}, "504"),
    ({"status": "error"}, "error"),
    ({"success": False}, "no details"),
    ({"fault": {"message": "no quota"}}, "no quota"),
    ({"exception": "TimeoutError"}, "TimeoutError"),
    ({"soc": {"error": TIMEOUT}, "odo": {"error": "x"}, "gps": {}}, "504 upstream timeout"),
]


@pytest.mark.parametrize(("labels", "words"), ERRORS)
def test_an_error_for_one_vehicle_is_no_answer_about_it(labels: Any, words: str) -> None:
    page = interpret_state(orjson.dumps({"bus_1": labels, "bus_2": SOC}), ["bus_1", "bus_2"])
    assert page.errors == {"bus_1": words}
    assert page.answered == {"bus_2"}
    assert Sample("bus_2", (Reading("soc_percent", 60.0, AT),)) in page.samples
    shown = [(bad.external_id, bad.refused_whole) for bad in page.malformed]
    assert ("bus_1", False) in shown
    assert set(shown) == {("bus_1", False)}
    assert VEHICLE_ERROR in [bad.detail for bad in page.malformed]


@pytest.mark.parametrize(
    "labels",
    [
        *({}, None, SOC, {"error": None, **SOC}, {"error": {}, "soc": {}}, {"soc": 5}),
        *({"status": "ok"}, {"statusCode": 200}, {"code": 0, "message": "Success"}),
    ],
)
def test_labels_without_an_error_are_no_error(labels: Any) -> None:
    assert error_of_vehicle(labels) is None


def test_an_error_of_one_label_costs_that_label() -> None:
    body = {"bus_1": {"soc": {"error": TIMEOUT}, "odo": {"time": MS, "value": 7}}}
    page = interpret_state(orjson.dumps(body), ["bus_1"])
    assert (set(page.answered), dict(page.errors)) == ({"bus_1"}, {})
    assert page.samples == (Sample("bus_1", (Reading("odometer_km", 7, AT),)),)
    assert [(bad.signals, bad.refused_whole) for bad in page.malformed] == [
        (("soc_percent",), False)
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"error": TIMEOUT},
        {"message": "internal error"},
        TIMEOUT,
        {"errors": []},
        {"vehicles": {"bus_1": SOC}},
    ],
)
def test_an_answer_that_names_nobody_asked_for_is_a_fault(body: Any) -> None:
    """Taken as a roster, it would say that the whole fleet left the account."""
    with pytest.raises(ProviderFault) as caught:
        interpret_state(orjson.dumps(body), ["bus_1", "bus_2"])
    assert caught.value.unreadable


def test_an_error_beside_vehicles_is_about_the_missing_ones() -> None:
    body = orjson.dumps({"error": TIMEOUT, "bus_2": SOC})
    page = interpret_state(body, ["bus_1", "bus_2"])
    assert page.answered == {"bus_2"}
    assert page.errors == {"bus_1": "504 upstream timeout"}


@pytest.mark.parametrize(
    "errors",
    [
        {"errors": {"bus_1": TIMEOUT}},
        {"errors": [{"vid": "bus_1", **TIMEOUT}]},
        {"errors": {"bus_1": "504 upstream timeout"}},
    ],
)
def test_an_error_beside_vehicles_is_about_the_one_it_names(errors: Any) -> None:
    """The third vehicle is left out, without an error."""
    page = interpret_state(orjson.dumps({**errors, "bus_2": SOC}), ["bus_1", "bus_2", "bus_3"])
    assert (set(page.answered), dict(page.errors)) == ({"bus_2"}, {"bus_1": "504 upstream timeout"})
    assert [bad.external_id for bad in page.malformed] == ["bus_1"]


def test_a_forwarded_answer_with_an_error_is_read_like_our_own() -> None:
    body = orjson.dumps({"bus_1": {"error": TIMEOUT}, "bus_2": SOC})
    assert interpret_message(body) == interpret_state(body, ["bus_1", "bus_2"])


def test_an_error_nested_too_deeply_has_no_details() -> None:
    body = b'{"bus_1":{"error":%b}}' % nested(900, "x").replace(b'"a"', b'"error"')
    assert interpret_state(body, ["bus_1"]).errors == {"bus_1": "no details"}


@given(json_values)
def test_no_value_in_the_place_of_labels_makes_it_raise(value: Any) -> None:
    error_of_vehicle(value)
    if is_dumpable(value):
        page = interpret_state(orjson.dumps({"bus_1": value}), ["bus_1"])
        assert page.answered ^ page.errors.keys() == {"bus_1"}
