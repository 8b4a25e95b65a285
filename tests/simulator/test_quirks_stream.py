"""Vehicles with a quirk on the stream: what their frames and their state say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from simulator.distortions import ALL_ONES, IMPOSSIBLE_SOC
from simulator.exchange import Request
from simulator.frames import FrameKind
from simulator.stream import LiveStream
from simulator.viriciti import answer
from tests.simulator.conftest import NOON, harbour
from tests.simulator.test_stream import Ear, listen, run


def with_quirk(flags: str, *, seconds: float = 2.0) -> tuple[LiveStream, Ear]:
    """A fleet of one vehicle, which has this quirk, after so many seconds of listening."""
    live = LiveStream(harbour(1, faults=flags), 7)
    ear = listen(live)
    run(live, seconds=seconds)
    return live, ear


def ask_state(live: LiveStream) -> bytes:
    body = orjson.dumps({"bus_0001": ["soc", "gps", "odo"]})
    return answer(live, Request("POST", "/api/v2/state", {}, {}, body)).body


def of_label(ear: Ear, label: str) -> list[dict[str, Any]]:
    return [payload for payload in ear.payloads() if payload["label"] == label]


def lag_seconds(ear: Ear) -> float:
    return NOON + 2 - float(ear.payloads()[-1]["time"]) / 1000


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [
        ("clock_ahead=1,clock_ahead_seconds=3600", -3600),
        ("clock_fast=1,clock_fast_seconds=240", -240),
        ("clock_behind=1,clock_behind_seconds=900", 900),
        ("clock_set_back=1,clock_behind_seconds=900,quirks_after=1", 900),
    ],
)
def test_a_wrong_clock_shifts_every_time(flags: str, seconds: float) -> None:
    _, ear = with_quirk(flags)
    assert lag_seconds(ear) == pytest.approx(seconds, abs=0.2)


def test_a_clock_is_right_until_it_is_set_back() -> None:
    live, ear = with_quirk("clock_set_back=1,quirks_after=5")
    assert lag_seconds(ear) == pytest.approx(0, abs=0.2)
    assert {frame.kind for frame in ear.frames} == {FrameKind.DATA}
    assert live.written_with_quirk == {}


def test_a_repetition_is_the_same_to_the_last_byte() -> None:
    _, ear = with_quirk("repeats=1,quirks_after=0.5", seconds=4)
    later = [frame.data for frame in ear.frames if frame.kind is FrameKind.ODD]
    assert len(later) > 60
    assert len(set(later)) == 6  # one of each label


def test_a_malformed_record_names_its_vehicle() -> None:
    live, ear = with_quirk("malformed_records=1")
    assert {(each["vid"], each["time"]) for each in ear.payloads()} == {("bus_0001", "now")}
    assert orjson.loads(ask_state(live))["bus_0001"]["soc"]["time"] == "now"


def test_bad_bytes_are_no_strict_json() -> None:
    live, ear = with_quirk("bad_bytes=1")
    texts = ear.texts()
    assert {"NaN" in text or "1e400" in text or "\\ud83d" in text for text in texts} == {True}
    assert all('"vid":"bus_0001"' in text for text in texts)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(next(text for text in texts if "NaN" in text))
    assert b'"@@' not in ask_state(live)


def test_loose_types_say_the_same_values() -> None:
    _, ear = with_quirk("loose_types=1")
    assert {type(each["value"]) for each in of_label(ear, "soc")} == {str}
    assert {type(each["time"]) for each in ear.payloads()} == {int, float, str}
    assert all(NOON <= float(each["time"]) / 1000 <= NOON + 2 for each in ear.payloads())


def test_only_one_signal_is_refused() -> None:
    _, ear = with_quirk("refused_signal=1")
    assert {each["value"] for each in of_label(ear, "soc")} == {IMPOSSIBLE_SOC}
    assert all(each["value"] < 200 for each in of_label(ear, "speed"))


def test_half_a_position_and_fill_values_come_in_gps() -> None:
    _, half = with_quirk("half_position=1")
    _, fill = with_quirk("fill_values=1")
    assert {each["value"].partition("|")[2] for each in of_label(half, "gps")} == {"655.35"}
    assert {each["value"] for each in of_label(fill, "gps")} == {"0|0"}
    assert {each["value"] for each in of_label(fill, "odo")} == {ALL_ONES / 1000}


def test_an_old_first_record_is_the_only_one() -> None:
    _, ear = with_quirk("first_record_old=1,first_record_age=7776000")
    assert len(ear.frames) == 1
    assert ear.payloads()[0]["time"] / 1000 == pytest.approx(NOON - 7_776_000, abs=0.2)


def test_a_moved_unit_sends_its_old_records_first() -> None:
    _, ear = with_quirk("empties_buffer=1,buffer_age=7200")
    times = [payload["time"] / 1000 - NOON for payload in ear.payloads()]
    assert all(-7200 <= time < -7190 for time in times[:5])
    assert all(0 <= time <= 2 for time in times[5:])


def test_a_vehicle_that_left_the_account_is_in_no_answer() -> None:
    live, ear = with_quirk("left_out=1,quirks_after=1")
    assert max(payload["time"] for payload in ear.payloads()) <= (NOON + 1) * 1000
    assert orjson.loads(ask_state(live)) == {}
    assert answer(live, Request("GET", "/api/v1/my/assets", {}, {})).body == b"[]"


def test_a_vehicle_with_an_error_sends_nothing() -> None:
    live, ear = with_quirk("vehicle_errors=1,quirks_after=1")
    assert max(payload["time"] for payload in ear.payloads()) <= (NOON + 1) * 1000
    error = {"error": {"code": 504, "message": "upstream timeout"}}
    assert orjson.loads(ask_state(live)) == {"bus_0001": error}


def test_an_id_in_the_other_case_is_another_id() -> None:
    live, ear = with_quirk("other_case=1")
    assert {payload["vid"] for payload in ear.payloads()} == {"BUS_0001"}
    assert orjson.loads(ask_state(live)) == {}


def test_a_vendor_that_holds_back_hands_over_later() -> None:
    live, ear = with_quirk("held_back_seconds=1")
    assert lag_seconds(ear) == pytest.approx(1, abs=0.1)
    known = orjson.loads(ask_state(live))["bus_0001"]["soc"]["time"] / 1000
    assert known <= NOON + 1


def test_frames_with_a_quirk_are_counted_by_it() -> None:
    live, ear = with_quirk("malformed_records=1")
    live.account(ear.frames)
    assert live.written == {FrameKind.ODD: len(ear.frames)}
    assert live.written_with_quirk == {"malformed_records": len(ear.frames)}
