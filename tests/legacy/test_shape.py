"""The configured shape: each mistake is named by its pointer, and says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from domain.position import POSITION
from domain.signals import CATALOGUE
from legacy.shape import ShapeInvalid, parse_shape
from legacy.units import FACTORS, factor_to
from ports.legacy import ShapeFault
from tests.legacy.shapes import SHAPE, changed, without

MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    (changed("/speed", 1), "/speed", "the member 'speed' is unknown here"),
    (changed("/values/itmes", "a"), "/values/itmes", "the member 'itmes' is unknown here"),
    (without("/values"), "/values", "the member 'values' is missing"),
    (without("/values/received_at"), "/values/received_at", "is missing"),
    (without("/registry/vehicle_id"), "/registry/vehicle_id", "is missing"),
    (changed("/values/items", "a..b"), "/values/items", "character 3: '.' is not expected here"),
    (changed("/values/items", 5), "/values/items", "write a JMESPath expression as text"),
    (changed("/values/path", "state"), "/values/path", "begin with /"),
    (changed("/values/path", "/a/../b"), "/values/path", "no .."),
    (changed("/values/path", "/a b"), "/values/path", "no spaces"),
    (changed("/values/path", "/{workspace}"), "/values/path", "{workspace_id}"),
    (changed("/values/path", "//evil.example/{workspace_id}#"), "/values/path", "no #"),
    (without("/values/device_id"), "/values", "device_id, or by provider_id and external_id"),
    (changed("/values/provider_id", "p"), "/values", "device_id, or by provider_id and"),
    (changed("/values/signals", {}), "/values/signals", "at least 1"),
    (
        changed("/values/signals/soc_percent/unit", "km"),
        "/values/signals/soc_percent/unit",
        "'km' cannot become %, the unit of soc_percent: use one of %, fraction",
    ),
    (
        changed("/values/signals/charging/unit", "%"),
        "/values/signals/charging/unit",
        "charging is a boolean and has no unit: leave it out",
    ),
    (
        changed("/values/signals/soc", {"value": "soc"}),
        "/values/signals/soc",
        "there is no signal 'soc'",
    ),
    (
        changed("/values/signals/position", {"value": "p"}),
        "/values/signals/position",
        "state latitude_deg and longitude_deg",
    ),
    (
        without("/values/signals/longitude_deg"),
        "/values/signals/latitude_deg",
        "longitude_deg is missing",
    ),
    (
        changed("/values/signals/longitude_deg/observed_at", "lon_at"),
        "/values/signals/longitude_deg/observed_at",
        "a position has one time",
    ),
    (changed("/values/time_format", "iso"), "/values/time_format", "one of rfc3339, epoch_seconds"),
    (
        changed("/values/time_format", {"pattern": "%d.%m.%Y %H:%M"}),
        "/values/time_format",
        "name the time_zone",
    ),
    (
        changed("/values/time_format", {"pattern": "%d.%m.%Y %H:%M", "time_zone": "Mars/Base"}),
        "/values/time_format",
        "'Mars/Base' is no time zone",
    ),
    (
        changed("/values/time_format", {"pattern": "%d.%m.%Y", "time_zone": "UTC"}),
        "/values/time_format",
        "does not read a whole date, hour and minute",
    ),
    (
        changed("/values/time_format", {"pattern": "%Y-%m-%d %Y %H:%M", "time_zone": "UTC"}),
        "/values/time_format",
        "cannot be read",
    ),
    (
        changed("/values/time_format", {"pattern": "%Y%m%d%H%M%z", "time_zone": "UTC"}),
        "/values/time_format",
        "leave out time_zone",
    ),
    (changed("/values/paging", {}), "/values/paging", "either next_link or page_parameter"),
    (
        changed("/values/paging", {"next_link": "n", "page_parameter": "p"}),
        "/values/paging",
        "either next_link or page_parameter",
    ),
    (
        changed("/values/paging", {"next_link": "n", "max_pages": 1000}),
        "/values/paging/max_pages",
        "less than or equal to 50",
    ),
    (
        changed("/values/paging", {"next_link": "n", "max_pages": "5"}),
        "/values/paging/max_pages",
        "valid integer",
    ),
    (
        changed("/credential_header/form", "Bearer"),
        "/credential_header/form",
        "{secret} or {secret_base64} once",
    ),
    (
        changed("/credential_header/form", "{secret}\r\nX: {secret}"),
        "/credential_header/form",
        "once",
    ),
    (changed("/credential_header/name", "Host"), "/credential_header/name", "name another"),
    (changed("/credential_header/name", "X Y"), "/credential_header/name", "name of a header"),
]


@pytest.mark.parametrize(("shape", "pointer", "detail"), MISTAKES)
def test_a_mistake_has_pointer_and_detail(shape: dict[str, Any], pointer: str, detail: str) -> None:
    with pytest.raises(ShapeInvalid) as caught:
        parse_shape(shape)
    found = [fault for fault in caught.value.faults if fault.pointer == pointer]
    assert found, caught.value.faults
    assert detail in found[0].detail


def test_all_mistakes_are_named_at_once() -> None:
    shape = changed("/values/items", "a..b") | {"speed": 1}
    with pytest.raises(ShapeInvalid) as caught:
        parse_shape(shape)
    assert {fault.pointer for fault in caught.value.faults} == {"/values/items", "/speed"}


@pytest.mark.parametrize(
    "many",
    [
        changed("/values/signals", {f"signal_{n}": {"value": "("} for n in range(400)}),
        changed("/values/signals/soc_percent", [[[n] for n in range(400)]]),
        {f"member_{n}": n for n in range(401)},
    ],
)
def test_a_shape_with_too_many_members_is_one_mistake(many: dict[str, Any]) -> None:
    with pytest.raises(ShapeInvalid) as caught:
        parse_shape(many)
    detail = "the shape has more than 400 members: write only those that it needs"
    assert caught.value.faults == [ShapeFault("", detail)]


def test_a_shape_may_have_every_signal() -> None:
    one = {"value": "a", "observed_at": "b"}
    signals = {name: one for name in CATALOGUE if name != POSITION}
    assert len(parse_shape(changed("/values/signals", signals)).values.signals) == len(signals)


def test_the_registry_may_be_left_out() -> None:
    assert parse_shape(without("/registry")).registry is None


def test_defaults_are_a_bearer_and_rfc_3339() -> None:
    header = parse_shape(SHAPE).credential_header
    assert (header.name, header.form) == ("Authorization", "Bearer {secret}")


def test_units_convert_to_those_of_the_catalogue() -> None:
    assert set(FACTORS) <= {signal.unit for signal in CATALOGUE.values()}
    assert factor_to("km", "km") == 1.0
    assert factor_to("km", "%") is None
    assert factor_to("kWh", "J") == pytest.approx(1 / 3.6e6)
    assert factor_to("km/h", "mph") == pytest.approx(1.609344)
