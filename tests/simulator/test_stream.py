"""The live stream without a socket: time is passed in, a websocket client's parser reads frames."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import orjson
import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from simulator.frames import NOISE, Frame, FrameKind, text_frame
from simulator.reporting import Reporting
from simulator.stream import LiveStream
from tests.simulator.conftest import NOON, harbour

LABELS = ("gps", "speed", "soc", "power", "odo", "energy_used_per_day")


class Ear:
    """A session that keeps what it is given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def deliver(self, frame: Frame) -> None:
        self.frames.append(frame)

    def texts(self) -> list[str]:
        return parse(b"".join(frame.data for frame in self.frames))

    def payloads(self) -> list[dict[str, Any]]:
        return [orjson.loads(text)["payload"] for text in self.texts()]


def parse(data: bytes) -> list[str]:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    return [event.data for event in client.events() if isinstance(event, TextMessage)]


def run(live: LiveStream, *, seconds: float, start: float = 0.0, tick: float = 0.02) -> None:
    for number in range(round(seconds / tick)):
        elapsed = start + (number + 1) * tick
        live.tick(elapsed, NOON + elapsed)


def listen(live: LiveStream, labels: tuple[str, ...] = LABELS) -> Ear:
    ear = Ear()
    live.subscribe(ear, dict.fromkeys(live.roster.vehicles, labels))
    return ear


def test_a_frame_is_one_label_in_the_vendor_s_shape() -> None:
    live = LiveStream(harbour(1), 7)
    ear = listen(live)
    run(live, seconds=1)
    first = orjson.loads(ear.texts()[0])
    time_ms = first["payload"]["time"]
    position = live.roster.buses[0].gps(time_ms / 1000)
    payload = {"vid": "bus_0001", "label": "gps", "time": time_ms, "value": position}
    assert first == {"type": "vehicles", "payload": payload}
    assert {payload["label"] for payload in ear.payloads()} == set(LABELS)


def test_every_value_is_what_the_bus_measured_at_that_time() -> None:
    live = LiveStream(harbour(2), 7)
    ear = listen(live)
    run(live, seconds=2)
    buses = {bus.spec.vehicle_id: bus for bus in live.roster.buses}
    payloads = ear.payloads()
    assert len(payloads) == pytest.approx(200, abs=5)
    assert all(
        each["value"] == buses[each["vid"]].readers[each["label"]](each["time"] / 1000)
        for each in payloads
    )
    assert all(NOON * 1000 <= each["time"] <= (NOON + 2) * 1000 for each in payloads)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_text_of_any_size_is_one_websocket_message(size: int) -> None:
    assert parse(text_frame(b"x" * size)) == ["x" * size]


def test_only_what_was_subscribed_is_sent_but_all_is_known() -> None:
    live = LiveStream(harbour(2), 7)
    ear = Ear()
    live.subscribe(ear, {"bus_0001": ["soc", "no_such_label"]})
    run(live, seconds=1)
    assert {(each["vid"], each["label"]) for each in ear.payloads()} == {("bus_0001", "soc")}
    assert all(signal.known_ms > 0 for signal in live.signals)


def test_a_new_subscription_replaces_the_old_one() -> None:
    live = LiveStream(harbour(2), 7)
    ear = listen(live)
    live.subscribe(ear, {"bus_0002": ["gps"]})
    run(live, seconds=1)
    assert {(each["vid"], each["label"]) for each in ear.payloads()} == {("bus_0002", "gps")}


def test_after_unsubscribing_nothing_comes() -> None:
    live = LiveStream(harbour(2), 7)
    ear, other = listen(live), listen(live)
    live.unsubscribe(ear)
    run(live, seconds=1)
    assert ear.frames == []
    assert other.frames != []


def test_what_counts_as_sent_is_what_was_accounted_for() -> None:
    live = LiveStream(
        harbour(1, faults="duplicates=0.2,malformed=0.1,non_object=0.1,future=0.1"), 7
    )
    ear = listen(live)
    run(live, seconds=10)
    assert sum(signal.sent for signal in live.signals) == 0
    live.account(ear.frames)
    true = [frame for frame in ear.frames if frame.kind in (FrameKind.DATA, FrameKind.DUPLICATE)]
    assert sum(signal.sent for signal in live.signals) == len(true)
    assert live.written == Counter(frame.kind for frame in ear.frames)
    newest = {id(frame.signal): frame.time_ms for frame in true}
    assert all(signal.last_ms == newest[id(signal)] for signal in live.signals)


def test_a_duplicate_is_the_same_frame_twice() -> None:
    live = LiveStream(harbour(1, faults="duplicates=1"), 7)
    ear = listen(live)
    run(live, seconds=1)
    texts = ear.texts()
    assert texts[0::2] == texts[1::2]


def test_an_overtaken_frame_comes_after_a_newer_one() -> None:
    live = LiveStream(harbour(1, faults="out_of_order=0.2"), 7)
    ear = listen(live, ("soc",))
    run(live, seconds=60)
    times = [each["time"] for each in ear.payloads()]
    steps = [after - before for before, after in pairwise(times)]
    assert len(times) == len(set(times)) >= 490
    assert (
        sum(step < 0 for step in steps)
        == sum(frame.kind is FrameKind.OUT_OF_ORDER for frame in ear.frames)
        > 30
    )


def test_a_malformed_frame_is_no_json_and_its_reading_is_lost() -> None:
    live = LiveStream(harbour(1, faults="malformed=1"), 7)
    ear = listen(live)
    run(live, seconds=1)
    for text in ear.texts():
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(text)
    live.account(ear.frames)
    assert all(signal.sent == 0 and signal.known_ms > 0 for signal in live.signals)


def test_noise_comes_beside_the_reading() -> None:
    live = LiveStream(harbour(1, faults="non_object=1"), 7)
    ear = listen(live)
    run(live, seconds=1)
    kinds = Counter(frame.kind for frame in ear.frames)
    assert kinds[FrameKind.NON_OBJECT] == kinds[FrameKind.DATA] >= 49
    assert set(ear.texts()[0::2]) == {noise.decode() for noise in NOISE}


def test_a_frame_from_the_future_is_ahead_by_the_given_time() -> None:
    live = LiveStream(harbour(1, faults="future=1,future_seconds=7200"), 7)
    ear = listen(live)
    run(live, seconds=1)
    assert all(NOON + 7200 <= each["time"] / 1000 <= NOON + 7201 for each in ear.payloads())
    assert all(signal.known_ms == 0 for signal in live.signals)


def test_a_late_vehicle_delivers_all_at_once_with_old_times() -> None:
    live = LiveStream(harbour(1, faults="late=1,late_seconds=5"), 7)
    ear = listen(live)
    run(live, seconds=4.9)
    assert ear.frames == []
    run(live, seconds=0.2, start=4.9)
    assert {frame.kind for frame in ear.frames} == {FrameKind.LATE}
    times = [each["time"] / 1000 - NOON for each in ear.payloads()]
    assert times == sorted(times)
    assert len(times) == pytest.approx(250, abs=5)


def test_faults_wait_for_their_window() -> None:
    live = LiveStream(harbour(1, faults="malformed=1,starts_at=1,ends_at=2"), 7)
    ear = listen(live)
    run(live, seconds=3)
    spoilt = [
        frame.time_ms / 1000 - NOON for frame in ear.frames if frame.kind is FrameKind.MALFORMED
    ]
    assert min(spoilt) == pytest.approx(1, abs=0.05)
    assert max(spoilt) == pytest.approx(2, abs=0.05)


def test_only_the_named_vehicle_s_frames_are_spoilt() -> None:
    live = LiveStream(harbour(3, faults="malformed=1,vehicles=bus_0002"), 7)
    ear = listen(live)
    run(live, seconds=1)
    spoilt = {
        frame.signal.vehicle_id
        for frame in ear.frames
        if frame.signal and frame.kind is FrameKind.MALFORMED
    }
    assert spoilt == {"bus_0002"}


def last_heard(ear: Ear, vehicle: str, label: str) -> float:
    return max(
        (
            each["time"] / 1000 - NOON
            for each in ear.payloads()
            if (each["vid"], each["label"]) == (vehicle, label)
        ),
        default=-1.0,
    )


def test_each_kind_of_silence_is_heard_as_such() -> None:
    live = LiveStream(harbour(4), 7)
    for number, manners in enumerate(
        (
            Reporting(never=True),
            Reporting(silent_after_seconds=4),
            Reporting(every_seconds=4),
            Reporting(stopped_labels=(("soc", 5.0),)),
        ),
        start=1,
    ):
        live.roster.change_reporting(f"bus_{number:04d}", manners, 0.0)
    ear = listen(live)
    run(live, seconds=10)
    assert last_heard(ear, "bus_0001", "gps") == -1
    assert last_heard(ear, "bus_0002", "gps") == pytest.approx(4, abs=0.2)
    assert last_heard(ear, "bus_0004", "soc") == pytest.approx(5, abs=0.2)
    assert last_heard(ear, "bus_0004", "gps") == pytest.approx(10, abs=0.2)
    breaths = [each["time"] for each in ear.payloads() if each["vid"] == "bus_0003"]
    assert sorted(Counter(breaths).values()) in ([6, 6], [6, 6, 6])


def test_the_same_seed_sends_the_same_bytes() -> None:
    heard = []
    for seed in (7, 7, 8):
        live = LiveStream(harbour(3, faults="duplicates=0.1,out_of_order=0.1,malformed=0.1"), seed)
        ear = listen(live)
        run(live, seconds=2)
        heard.append(b"".join(frame.data for frame in ear.frames))
    assert heard[0] == heard[1] != heard[2]
