"""ViriCiti frames become readings, or are counted with a word that says why not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import FaultClass, Reading
from domain.position import POSITION
from ports.providers import FrameVerdict
from providers.loose_types import EPOCH_2000, EPOCH_2100
from providers.viriciti.wire import LABELS, Rules, _interpret_point, interpret, read_point
from tests.providers.viriciti_shapes import AT, MS, frame, nested, point


@pytest.mark.parametrize(
    ("label", "signal", "value"),
    [
        ("speed", "speed_kmh", 43.5),
        ("odo", "odometer_km", 123_456.7),
        ("soc", "soc_percent", 88.5),
        ("current", "battery_current_a", -31.5),
        ("voltage", "battery_voltage_v", 640),
        ("energy_used_per_day", "energy_used_today_kwh", 210.25),
        ("odo_reference_per_day", "distance_today_km", 150.5),
        ("analyses.estimated_range", "range_km", 98),
        ("fuel", "fuel_level_l", 12.5),
        ("fuel_used_per_day", "fuel_used_today_l", 3.5),
    ],
)
def test_a_data_point_is_one_reading_in_our_words(label: str, signal: str, value: float) -> None:
    assert interpret(frame(label=label, value=value)) == FrameVerdict(
        "bus_004", (Reading(signal, value, AT),)
    )


@given(
    label=st.sampled_from([*LABELS, "unheard_of", ["soc"], None]),
    time=st.one_of(
        st.sampled_from([EPOCH_2000, EPOCH_2100 - 1, EPOCH_2100, 10**14 - 1, 10**14, -(10**14)]),
        st.integers(-(10**17), 10**17),
        st.floats(),
        st.booleans(),
        st.text(max_size=5),
    ),
    value=st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5)),
)
def test_the_short_way_of_most_frames_reads_as_the_long_one(
    label: Any, time: Any, value: Any
) -> None:
    payload = {"vid": "bus_1", "label": label, "time": time, "value": value}
    short, long = _interpret_point(payload, Rules()), read_point(label, time, value, Rules())
    if isinstance(long, tuple):
        assert same((short.external_id, short.readings), ("bus_1", long))
    else:
        assert long in (short.ignored, short.malformed)


def same(one: object, other: object) -> bool:
    """Whether two values look the same; unlike `==`, also for numbers that are none."""
    return repr(one) == repr(other)


def test_a_position_is_one_reading() -> None:
    readings = (Reading("position", (52.0931, -5.1142), AT),)
    assert interpret(frame(label="gps", value="52.0931|-5.1142")) == FrameVerdict(
        "bus_004", readings
    )


@pytest.mark.parametrize(
    ("power", "rules", "power_kw", "charging"),
    [
        (-22.5, Rules(), -22.5, True),
        (-1.0, Rules(), -1.0, False),
        (0, Rules(), 0, False),
        (80.5, Rules(), 80.5, False),
        (22.5, Rules(power_sign=-1), -22.5, True),
        (-3.0, Rules(charging_below_kw=-5.0), -3.0, False),
    ],
)
def test_power_also_says_whether_the_vehicle_charges(
    power: float, rules: Rules, power_kw: float, charging: bool
) -> None:
    readings = (Reading("power_kw", power_kw, AT), Reading("charging", charging, AT))
    assert interpret(frame(label="power", value=power), rules) == FrameVerdict("bus_004", readings)


def test_without_a_threshold_nothing_is_said_about_charging() -> None:
    verdict = interpret(frame(label="power", value=-50), Rules(charging_below_kw=None))
    assert verdict.readings == (Reading("power_kw", -50, AT),)


def test_zero_is_a_value_and_null_is_no_news() -> None:
    assert interpret(frame(value=0)) == FrameVerdict("bus_004", (Reading("soc_percent", 0, AT),))
    assert interpret(frame(value=None)) == FrameVerdict("bus_004", (), ignored="no_news")


def test_the_first_protocols_bare_data_point_is_read_too() -> None:
    verdict = FrameVerdict("bus_004", (Reading("soc_percent", 88.5, AT),))
    assert interpret(orjson.dumps(point())) == verdict
    assert interpret(orjson.dumps(point()).decode()) == verdict


@pytest.mark.parametrize(
    ("ms", "at"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        (1_566_411_763_290, AT),
        (
            45_656_674_123_198,
            datetime(3416, 10, 20, 17, 28, 43, 198_000, tzinfo=UTC),
        ),  # a float division rounds this
        (253_402_300_799_999, datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
    ],
)
def test_milliseconds_are_exact(ms: int, at: datetime) -> None:
    assert interpret(frame(time=ms)).readings[0].observed_at == at


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({"vehicles": {"bus_004": ["gps", "soc"]}}, "echo"),
        ({"vehicles": {}, "chargestations": {}}, "echo"),
        ({"type": "vehicles", "payload": {"bus_004": ["gps"]}}, "echo"),
        ({"bus_004": ["gps", "soc"]}, "echo"),
        ({"type": "acl", "payload": {"vehicles": ["bus_004"]}}, "acl"),
        ({"type": "incidents", "payload": {}}, "not_ours"),
        ({"type": "chargestations", "payload": {}}, "not_ours"),
        ({"type": "weather", "payload": {}}, "unknown_type"),
        ({"ready": True}, "greeting"),
        ({}, "keep_alive"),
    ],
)
def test_what_is_no_data_point_is_ignored_with_a_word(message: dict[str, Any], word: str) -> None:
    assert interpret(orjson.dumps(message)) == FrameVerdict(None, (), ignored=word)


@pytest.mark.parametrize("text", ["acl: bus_004, bus_005", "Query is empty", b"show acl"])
def test_an_answer_to_a_debug_command_is_ignored(text: str | bytes) -> None:
    assert interpret(text) == FrameVerdict(None, (), ignored="debug_answer")


def test_an_unknown_label_is_counted_not_an_error() -> None:
    assert interpret(frame(label="cabin_temperature")) == FrameVerdict(
        "bus_004", (), ignored="unknown_label"
    )


POINT = b'{"type":"vehicles","payload":{"vid":"b","label":"soc","time":1,"value":%b}}'


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"keep-alive", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("\ud800", "not JSON"),
        (b"\xef\xbb\xbf" * 2 + b"{}", "not JSON"),
        (b"42", "not an object"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b'"hello"', "not an object"),
        (b'{"type":"vehicles"}', "payload is not an object"),
        (b'{"type":"vehicles","payload":[]}', "payload is not an object"),
        (b'{"type":"vehicles","payload":{}}', "vid, label, time or value is missing"),
        (b'{"type":7}', "unknown shape"),
        (b'[{"vid":1.5},{"vid":2.5}]'[:-1], "not JSON"),
        (b'{"vid":"b\\u0073","value":NaN}', "not JSON"),
    ],
)
def test_what_cannot_be_understood_is_malformed(raw: str | bytes, why: str) -> None:
    assert interpret(raw) == FrameVerdict(None, (), malformed=why)


@pytest.mark.parametrize("vid", ["", None, True, 4.5, ["b"], "b\0s", "b" * 129])
def test_a_vid_that_is_no_name_is_malformed(vid: object) -> None:
    assert interpret(frame(vid=vid)) == FrameVerdict(
        None, (), malformed="vid is not a name", signal="soc_percent"
    )


@pytest.mark.parametrize(
    ("raw", "why", "signal"),
    [
        (POINT % b"NaN", "not JSON", "soc_percent"),
        (POINT % b"-Infinity", "not JSON", "soc_percent"),
        (POINT % b"1e999", "not JSON", "soc_percent"),
        (POINT % b"1e400", "not JSON", "soc_percent"),
        (POINT % b'"M\xfcnchen"', "not JSON", "soc_percent"),
        (POINT % b'"\\ud800"', "not JSON", "soc_percent"),
        (POINT % b'"a\x01b"', "not JSON", "soc_percent"),
        (POINT % b'"\xed\xa0\x80"', "not JSON", "soc_percent"),
        ((POINT % b'"M\xfcnchen"').decode("utf-8", "surrogateescape"), "not JSON", "soc_percent"),
        ((POINT % b"NaN").decode(), "not JSON", "soc_percent"),
        (b"\xef\xbb\xbf" + POINT % b"NaN", "not JSON", "soc_percent"),
        (b'{"type":"vehicles","payload":{"vid":"b","la', "not JSON", None),
        (POINT[:-4] + b"1}", "not JSON", "soc_percent"),
        (
            b'[{"vid":"b","label":"speed"}]',
            "vid, label, time or value is missing",
            "speed_kmh",
        ),
        (
            b'{"type":"vehicles","payload":[{"vid":"b"}]}',
            "vid, label, time or value is missing",
            None,
        ),
        (POINT.replace(b"vehicles", b"weather") % b"1", "unknown shape", "soc_percent"),
        (
            b'{"type":"vehicles","payload":{"vid":"b","label":"soc","time":1}}',
            "vid, label, time or value is missing",
            "soc_percent",
        ),
        (
            b'{"type":"vehicles","payload":{"vid":"b","value":1}}',
            "vid, label, time or value is missing",
            None,
        ),
        (b'{"label":"soc","time":1,"asset":{"vid":"b"}}', "unknown shape", "soc_percent"),
    ],
)
def test_a_frame_that_is_lost_names_its_vehicle(
    raw: str | bytes, why: str, signal: str | None
) -> None:
    assert interpret(raw) == FrameVerdict("b", (), malformed=why, signal=signal)


@pytest.mark.parametrize("kind", ["Vehicles", "VEHICLES ", None])
def test_a_data_point_is_read_whatever_the_case_of_its_type(kind: str | None) -> None:
    verdict = FrameVerdict("bus_004", (Reading("soc_percent", 88.5, AT),))
    assert interpret(orjson.dumps({"type": kind, "payload": point()})) == verdict


def test_an_error_about_one_vehicle_names_it() -> None:
    raw = b'{"type":"error","payload":{"vid":"bus_9","message":"no data"}}'
    assert interpret(raw) == FrameVerdict(
        "bus_9", (), ignored="provider_error", fault=FaultClass.PROTOCOL
    )


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", "\ufeff"])
def test_a_byte_order_mark_costs_nothing(mark: Any) -> None:
    raw = frame() if isinstance(mark, bytes) else frame().decode()
    assert interpret(mark + raw) == interpret(raw)
    assert interpret(mark + raw).readings


@pytest.mark.parametrize(
    ("changes", "reading"),
    [
        ({"value": "61.5"}, Reading("soc_percent", 61.5, AT)),
        ({"value": " 61 "}, Reading("soc_percent", 61, AT)),
        ({"value": "61,5"}, Reading("soc_percent", 61.5, AT)),
        ({"value": "1.5e1"}, Reading("soc_percent", 15.0, AT)),
        ({"label": "current", "value": "-.5"}, Reading("battery_current_a", -0.5, AT)),
        ({"time": str(MS)}, Reading("soc_percent", 88.5, AT)),
        ({"time": float(MS)}, Reading("soc_percent", 88.5, AT)),
        ({"time": MS / 1000}, Reading("soc_percent", 88.5, AT)),
        ({"time": MS // 1000}, Reading("soc_percent", 88.5, AT.replace(microsecond=0))),
        ({"time": str(MS // 1000)}, Reading("soc_percent", 88.5, AT.replace(microsecond=0))),
        ({"time": "2019-08-21T18:22:43.290z"}, Reading("soc_percent", 88.5, AT)),
        ({"time": 86_400_000}, Reading("soc_percent", 88.5, datetime(1970, 1, 2, tzinfo=UTC))),
        ({"time": "2019-08-21 20:22:43,29+0200"}, Reading("soc_percent", 88.5, AT)),
    ],
)
def test_a_type_that_can_mean_only_one_thing_is_read(
    changes: dict[str, Any], reading: Reading
) -> None:
    assert interpret(frame(**changes)) == FrameVerdict("bus_004", (reading,))


@pytest.mark.parametrize(
    "value",
    [
        {"lat": 52.1, "lon": 5},
        {"lat": "52.1", "lon": "5"},
        "52.1 |5 ",
        "52,1|5,0",
        {"lat": "52,1", "lon": 5},
    ],
)
def test_a_position_is_read_in_each_form_that_is_documented(value: object) -> None:
    assert interpret(frame(label="gps", value=value)) == interpret(
        frame(label="gps", value="52.1|5")
    )


def test_a_whole_number_is_a_name_too() -> None:
    assert interpret(frame(vid=1430)).external_id == "1430"


def test_an_implausible_power_says_nothing_about_charging() -> None:
    verdict = interpret(frame(label="power", value=-32_768))
    assert verdict.readings == (Reading("power_kw", -32_768, AT),)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"label": None}, "label is not a name"),
        ({"label": ["soc"]}, "label is not a name"),
        ({"time": "now"}, "time is not an instant"),
        ({"time": "2019-08-21T18:22:43"}, "time is not an instant"),
        ({"time": "2019-02-30T18:22:43Z"}, "time is not an instant"),
        ({"time": True}, "time is not an instant"),
        ({"time": 1.5}, "time is not an instant"),
        ({"time": None}, "time is not an instant"),
        ({"time": "1" * 400}, "time is not an instant"),
        ({"time": 253_402_300_800_000}, "time is out of range"),
        ({"time": 2**64 - 1}, "time is out of range"),
        ({"time": -(2**63)}, "time is out of range"),
        ({"value": True}, "value is not a number"),
        ({"value": "1,234"}, "value is not a number"),
        ({"value": "1_0"}, "value is not a number"),
        ({"value": "88.5 %"}, "value is not a number"),
        ({"value": "NaN"}, "value is not a number"),
        ({"value": ""}, "value is not a number"),
        ({"value": "9" * 400}, "value is not a number"),
        ({"value": [88.5]}, "value is not a number"),
        ({"label": "gps", "value": 52.1}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "52.1"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "52.1|"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "52.1,5.1"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "1_0|5.1"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "52,090|5,110"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "nan|5.1"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "52.1|inf"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": "52.1|5.1|7"}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": {"lat": 52.1}}, "gps is not 'lat|lon'"),
        ({"label": "gps", "value": {"lat": 52.1, "lon": True}}, "gps is not 'lat|lon'"),
        ({"label": "power", "value": False}, "value is not a number"),
    ],
)
def test_a_malformed_data_point_still_names_its_vehicle(changes: dict[str, Any], why: str) -> None:
    label = changes.get("label", "soc")
    signal = POSITION if label == "gps" else LABELS.get(label) if isinstance(label, str) else None
    assert interpret(frame(**changes)) == FrameVerdict("bus_004", (), malformed=why, signal=signal)


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({"message": "Invalid API key"}, FaultClass.CREDENTIALS),
        ("unauthenticated", FaultClass.CREDENTIALS),
        (
            {"message": "not authorised", "vids": ["bus_9"]},
            FaultClass.PROTOCOL,
        ),  # about one vehicle, not the key
        ({"message": "could not parse the query"}, FaultClass.PROTOCOL),
        (None, FaultClass.PROTOCOL),
    ],
)
def test_an_error_frame_is_a_fault(payload: object, fault: FaultClass) -> None:
    raw = orjson.dumps({"type": "error", "payload": payload})
    assert interpret(raw) == FrameVerdict(None, (), ignored="provider_error", fault=fault)


@pytest.mark.parametrize(
    ("words", "fault"),
    [("Invalid API key", FaultClass.CREDENTIALS), ("could not parse", FaultClass.PROTOCOL)],
)
def test_an_error_report_may_be_nested_too_deeply_for_json(words: str, fault: FaultClass) -> None:
    raw = b'{"type":"error","payload":' + nested(300, words) + b"}"
    verdict = FrameVerdict(None, (), ignored="provider_error", fault=fault)
    assert interpret(raw) == interpret(raw.decode()) == verdict
