"""From answers to devices and values: what one bad item or value costs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import MAX_SAMPLE_BYTES
from domain.parity import DeviceView, ShownValue
from domain.signals import CATALOGUE, check_value
from legacy.mapping import (
    MAX_SAMPLES,
    MAX_UNFIT,
    TWICE,
    UNREADABLE,
    Reader,
    RegistryMapping,
    ValuesMapping,
)
from legacy.shape import parse_shape
from ports.legacy import LegacyDevice, LegacyUnfit, UnfitItem
from runtime.scrubbing import Scrubber
from tests.legacy.shapes import SHAPE, STATE, VEHICLE, changed, without
from tests.legacy.test_expressions import ANY_JSON

SECRET = "s3cret-token-9"
TEN = datetime(2026, 5, 1, 10, tzinfo=UTC)
NINE = TEN.replace(hour=9)
SEEN = TEN.replace(second=5)
VALUES = {
    "soc_percent": ShownValue(50.0, TEN),
    "odometer_km": ShownValue(12.5, NINE),
    "position": ShownValue((52.1, 5.1), TEN),
    "charging": ShownValue(True, TEN),
    "charging_complete_at": ShownValue("2026-05-01T11:00:00Z", TEN),
}
VIEW = DeviceView(VALUES, SEEN)
DEVICE = LegacyDevice("bus-1", "viriciti", "u-1", "17", "Bus 17")


def read_values(
    *items: Any, shape: dict[str, Any] = SHAPE
) -> tuple[dict[Any, DeviceView], list[UnfitItem]]:
    reader = Reader(Scrubber(SECRET))
    mapping = ValuesMapping(parse_shape(shape).values, reader)
    for item in items:
        mapping.add(item)
    return dict(mapping.views()), reader.unfit


def read_registry(
    *items: Any, shape: dict[str, Any] = SHAPE
) -> tuple[list[LegacyDevice], list[UnfitItem]]:
    reader = Reader(Scrubber(SECRET))
    registry = parse_shape(shape).registry
    assert registry is not None
    mapping = RegistryMapping(registry, reader)
    for item in items:
        mapping.add(item)
    return list(mapping.devices()), reader.unfit


def test_a_good_item_is_a_view_in_our_units() -> None:
    assert read_values(STATE) == ({"bus-1": VIEW}, [])


@pytest.mark.parametrize(
    ("change", "lost", "pointer", "detail"),
    [
        ({"soc": 1.2}, "soc_percent", "/values/signals/soc_percent", "above 100 %"),
        ({"soc": "0.5"}, "soc_percent", "/values/signals/soc_percent", "not a number"),
        ({"soc": True}, "soc_percent", "/values/signals/soc_percent", "not a number"),
        ({"soc": float("nan")}, "soc_percent", "/values/signals/soc_percent", "finite"),
        ({"soc": 10**400}, "soc_percent", "/values/signals/soc_percent", "above 100 %"),
        ({"soc": [0.5]}, "soc_percent", "/values/signals/soc_percent", "not a number"),
        ({"odo": -5}, "odometer_km", "/values/signals/odometer_km", "below 0 km"),
        (
            {"odo_at": "yesterday"},
            "odometer_km",
            "/values/signals/odometer_km/observed_at",
            "no instant in the configured form",
        ),
        ({"lat": 91}, "position", "/values/signals/latitude_deg", "above 90 deg"),
        ({"lon": None}, "position", "/values/signals/longitude_deg", "half of a position"),
        ({"ready": "soon"}, "charging_complete_at", "/values/signals/charging_complete_at", "no"),
    ],
)
def test_a_bad_value_costs_its_signal_only(
    change: dict[str, Any], lost: str, pointer: str, detail: str
) -> None:
    views, unfit = read_values({**STATE, **change})
    expected = {name: value for name, value in VALUES.items() if name != lost}
    assert views == {"bus-1": DeviceView(expected, SEEN)}
    assert [(one.device_id, one.expression) for one in unfit] == [("bus-1", pointer)]
    assert detail in unfit[0].detail


@pytest.mark.parametrize("bad", [{"soc": None}, {"odo": None}, {"lat": 0, "lon": 0}])
def test_a_value_that_is_not_there_is_no_mistake(bad: dict[str, Any]) -> None:
    views, unfit = read_values({**STATE, **bad})
    assert (len(views["bus-1"].values), unfit) == (len(VALUES) - 1, [])


@pytest.mark.parametrize(
    ("bad", "known", "pointer"),
    [
        ({**STATE, "id": None}, None, "/values/device_id"),
        ({**STATE, "id": "a b"}, None, "/values/device_id"),
        ({**STATE, "id": ["bus-2"]}, None, "/values/device_id"),
        ({**STATE, "id": "x" * 65}, None, "/values/device_id"),
        ({**STATE, "id": "bus-2", "seen": "?"}, "bus-2", "/values/received_at"),
        ({}, None, "/values/device_id"),
        (5, None, "/values/device_id"),
        (None, None, "/values/device_id"),
    ],
)
def test_a_bad_item_costs_itself_only(bad: Any, known: str | None, pointer: str) -> None:
    views, unfit = read_values(STATE, bad, {**STATE, "id": "bus-3"})
    expected = {"bus-1": VIEW, "bus-3": VIEW}
    if known is not None:
        expected[known] = UNREADABLE
    assert views == expected
    assert [(one.device_id, one.expression) for one in unfit] == [(known, pointer)]


def test_a_device_never_heard_is_known() -> None:
    views, unfit = read_values({"id": "bus-1", "seen": None})
    assert (views, unfit) == ({"bus-1": DeviceView({}, None)}, [])


def test_an_item_that_takes_too_many_steps_is_unfit() -> None:
    shape = changed("/values/signals/soc_percent/value", "[@,@][]|" * 14 + "length(@)")
    views, unfit = read_values(STATE, {**STATE, "id": "bus-2"}, shape=shape)
    assert set(views) == {"bus-1", "bus-2"}
    assert {one.device_id for one in unfit} == {"bus-1", "bus-2"}
    assert "too many steps" in unfit[0].detail


def test_a_device_twice_is_not_readable() -> None:
    views, unfit = read_values(STATE, {**STATE, "soc": 0.4}, STATE, {**STATE, "id": "bus-2"})
    assert views == {"bus-1": UNREADABLE, "bus-2": VIEW}
    assert [(one.device_id, one.detail) for one in unfit] == [("bus-1", TWICE)] * 2


def test_overlapping_pages_are_no_mistake() -> None:
    assert read_values(STATE, STATE) == ({"bus-1": VIEW}, [])
    assert read_registry(VEHICLE, VEHICLE) == ([DEVICE], [])


def test_devices_may_be_named_by_provider_and_unit() -> None:
    shape = without("/values/device_id")
    shape["values"] |= {"provider_id": "'viriciti'", "external_id": "id"}
    assert read_values(STATE, shape=shape) == ({("viriciti", "bus-1"): VIEW}, [])


def test_the_registry_gives_devices() -> None:
    assert read_registry(VEHICLE) == ([DEVICE], [])


def test_without_our_ids_the_external_id_stands_in() -> None:
    shape = without("/registry/device_id")
    assert read_registry(VEHICLE, shape=shape) == ([DEVICE._replace(device_id="u-1")], [])


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/registry/vehicle_name"),
        ({"name": "a\x00b"}, "/registry/vehicle_name"),
        ({"number": None}, "/registry/vehicle_id"),
        ({"number": 17.5}, "/registry/vehicle_id"),
        ({"unit": "u" * 200}, "/registry/external_id"),
    ],
)
def test_a_bad_device_is_left_out_alone(change: dict[str, Any], pointer: str) -> None:
    devices, unfit = read_registry({**VEHICLE, **change, "id": "bus-2"}, VEHICLE)
    assert devices == [DEVICE]
    assert [one.expression for one in unfit] == [pointer]


def test_two_devices_with_one_id_are_both_left_out() -> None:
    devices, unfit = read_registry(VEHICLE, {**VEHICLE, "name": "Other"})
    assert (devices, [one.detail for one in unfit]) == ([], [TWICE])


@pytest.mark.parametrize("answer", [{}, {"state": None}, {"state": {"id": 1}}, {"state": 5}, []])
def test_an_answer_without_a_list_is_unfit_as_a_whole(answer: Any) -> None:
    reader = Reader(Scrubber(SECRET))
    with pytest.raises(LegacyUnfit) as caught:
        reader.items(answer, parse_shape(SHAPE).values.items, "/values/items")
    assert caught.value.expression == "state"
    assert "/values/items (state) found" in str(caught.value)
    assert caught.value.sample == orjson.dumps(answer)


def test_samples_are_short_and_without_the_secret() -> None:
    bad = {"id": f"no id: {SECRET}", "echo": SECRET, "long": "x" * 10_000}
    _, unfit = read_values(bad, {**STATE, "soc": SECRET}, {**STATE, "seen": SECRET})
    assert len(unfit) == 3
    for one in unfit:
        assert SECRET not in repr(one)
        assert len(one.sample) <= MAX_SAMPLE_BYTES
    assert b"[redacted]" in unfit[0].sample


def test_texts_of_the_answer_do_not_show_the_secret() -> None:
    shape = changed("/values/signals/charging_status", {"value": "word"})
    views, _ = read_values({**STATE, "word": f"is {SECRET}"}, shape=shape)
    assert views["bus-1"].values["charging_status"].value == "is [redacted]"


def test_unfit_items_are_counted_and_a_few_are_kept() -> None:
    reader = Reader(Scrubber())
    mapping = ValuesMapping(parse_shape(SHAPE).values, reader)
    for _ in range(MAX_UNFIT + 5):
        mapping.add({"id": None})
    assert (reader.unfit_count, len(reader.unfit)) == (MAX_UNFIT + 5, MAX_UNFIT)
    assert sum(bool(one.sample) for one in reader.unfit) == MAX_SAMPLES


ITEMS = st.lists(
    ANY_JSON
    | st.fixed_dictionaries(
        {"id": st.sampled_from(["bus-1", "bus-2"]) | ANY_JSON},
        optional={name: ANY_JSON | st.just(STATE[name]) for name in STATE if name != "id"},
    ),
    max_size=5,
)


@given(ITEMS)
def test_any_items_give_values_in_range_or_faults(items: list[Any]) -> None:
    views, unfit = read_values(*items)
    for view in views.values():
        for signal, shown in view.values.items():
            assert signal == "position" or signal in CATALOGUE
            assert check_value(signal, shown.value) == shown.value
    assert all(one.detail and one.expression.startswith("/values") for one in unfit)
    assert len(unfit) >= sum(not isinstance(item, dict) for item in items)


@given(st.lists(ANY_JSON | st.just(VEHICLE), max_size=5))
def test_any_vehicles_give_devices_or_faults(items: list[Any]) -> None:
    devices, unfit = read_registry(*items)
    assert devices == ([DEVICE] if VEHICLE in items else [])
    assert len(unfit) == sum(item != VEHICLE for item in items)
