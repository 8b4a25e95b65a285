"""From frames to submissions: every frame is counted once, and bad ones harm no good ones."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.intake import FrameIntake
from domain.model import FaultClass, Reading, Reason
from ports.providers import FrameVerdict
from tests.actors.harness import LIVE, build_harness
from tests.actors.instants import at
from tests.actors.scripted import BUG, DENIED, ECHO, GARBAGE, ScriptedStreamer, frame

if TYPE_CHECKING:
    from datetime import datetime

    from domain.model import Submission
    from tests.actors.harness import Shard

interpret = ScriptedStreamer().interpret


@pytest.fixture
async def intake(shard: Shard) -> FrameIntake:
    return FrameIntake(LIVE, await shard.view(), shard.clock)


def take(intake: FrameIntake, *frames: str) -> None:
    for one in frames:
        intake.take_all(interpret, [one], trio.current_time())


def replace_by(verdict: FrameVerdict, frame: str | bytes) -> FrameVerdict:
    return verdict


def check_counts(intake: FrameIntake) -> None:
    counted = intake.statistics()
    assert counted.received == (
        counted.merged + counted.ignored + counted.malformed + counted.pending
    )


def values(submission: Submission | None) -> dict[str | None, dict[str, object]]:
    assert submission is not None
    return {
        update.external_id: {reading.signal: reading.value for reading in update.readings}
        for update in submission.updates
    }


known = st.builds(
    frame,
    st.sampled_from(["ferry-1", "ferry-2"]),
    st.sampled_from([-600.0, -1.0, 0.0, 1.0, 299.0, 301.0, 1e6]),
    soc_percent=st.sampled_from([-5.0, 0.0, 50.0, 900.0]),
)
unknown = st.integers(0, 150).map(lambda number: frame(f"stranger-{number}", 0, soc_percent=1.0))
empty = st.just("x-ferry-1 0")
frames = st.one_of(known, unknown, empty, st.sampled_from([ECHO, GARBAGE, DENIED, BUG]))


@given(st.lists(frames, max_size=60), st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_every_kind_of_frame_is_counted_once(frames: list[str], flush_every: int) -> None:
    async def send() -> None:
        shard = await (await build_harness()).boot()
        intake = FrameIntake(LIVE, await shard.view(), shard.clock)
        refused = 0
        for number, one in enumerate(frames, start=1):
            try:
                intake.take_all(interpret, [one], trio.current_time())
            except ZeroDivisionError:
                assert one == BUG
            check_counts(intake)
            if number % flush_every == 0 and (sent := intake.next_submission(float("inf"))):
                refused += sum(item.occurrences for item in sent.invalid)
        counted = intake.statistics()
        assert (counted.received, counted.pending) == (len(frames), 0)
        if sent := intake.next_submission(float("inf")):
            refused += sum(item.occurrences for item in sent.invalid)
        assert refused == sum(sum(signals.values()) for signals in counted.refused.values())
        kept_frames = (
            counted.malformed
            + counted.ignored_by.get("future_timestamp", 0)
            + sum(counted.faults.values())
        )
        assert refused == kept_frames + counted.buffer.invalid

    trio.run(send, clock=MockClock(autojump_threshold=0))


async def test_an_ignored_frame_says_why(intake: FrameIntake, autojump_clock: MockClock) -> None:
    take(intake, ECHO, ECHO, "x-ferry-1 0", frame("ferry-1", 301, soc_percent=1.0))
    assert intake.statistics().ignored_by == {"echo": 2, "no_readings": 1, "future_timestamp": 1}


async def test_at_most_a_hundred_unconfigured_devices_wait_at_a_time(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, *(frame(f"stranger-{number}", 0, soc_percent=1.0) for number in range(150)))
    take(intake, frame("ferry-1", 0, soc_percent=1.0))
    assert intake.statistics().ignored_by == {"too_many_unknown_devices": 50}
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert len(sent.updates) == 101
    assert [(update.device_id, update.external_id) for update in sent.updates][99:] == [
        (None, "x-stranger-99"),
        ("ferry-1", "x-ferry-1"),
    ]


async def test_refused_frames_go_to_the_ledger_with_count_and_sample(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    future = frame("ferry-1", 301, soc_percent=1.0)
    take(intake, GARBAGE, future, GARBAGE, GARBAGE)
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert sent.updates == ()
    assert [(item.reason, item.occurrences, item.sample) for item in sent.invalid] == [
        (Reason.MALFORMED, 3, b"garbage"),
        (Reason.FUTURE_TIMESTAMP, 1, future.encode()),
    ]
    assert intake.next_submission(float("inf")) is None


async def test_a_refusal_names_its_device_as_it_was_configured(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    lost = FrameVerdict(" x-ferry-1 ", (), malformed="no number", signal="soc_percent")
    intake.take_all(lambda _: lost, ["lost"], trio.current_time())
    ahead = FrameVerdict(" x-ferry-2 ", (Reading("soc_percent", 1.0, at(301)),))
    intake.take_all(lambda _: ahead, ["ahead"], trio.current_time())
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert [(item.external_id, item.device_id) for item in sent.invalid] == [
        ("x-ferry-1", "ferry-1"),
        ("x-ferry-2", "ferry-2"),
    ]


async def test_a_frame_of_several_data_points_counts_once(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    good = interpret(frame("ferry-1", 0, soc_percent=50.0))
    ahead = interpret(frame("ferry-1", 301, speed_kmh=5.0))
    bad = FrameVerdict("x-ferry-2", (), malformed="no number", signal="soc_percent")
    for parts in ((bad, good, ahead), (bad, bad)):
        verdict = FrameVerdict(None, (), malformed=bad.malformed, parts=parts)
        intake.take_all(partial(replace_by, verdict), ["several"], trio.current_time())
    check_counts(intake)
    counted = intake.statistics()
    assert (counted.merged, counted.malformed, counted.ignored) == (1, 1, 0)
    sent = intake.next_submission(float("inf"))
    assert values(sent) == {"x-ferry-1": {"soc_percent": 50.0}}
    assert sent is not None
    assert [(item.device_id, item.reason, item.occurrences) for item in sent.invalid] == [
        ("ferry-2", Reason.MALFORMED, 3),
        ("ferry-1", Reason.FUTURE_TIMESTAMP, 1),
    ]


async def test_error_frames_of_the_provider_are_counted_apart(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    """Beside a malformed frame, whose sample would say nothing of it."""
    report = FrameVerdict(None, (), ignored="provider_error", fault=FaultClass.PROTOCOL)
    take(intake, GARBAGE)
    for text in ("error one", "error two"):
        intake.take_all(lambda _: report, [text], trio.current_time())
    check_counts(intake)
    counted = intake.statistics()
    assert (counted.faults, counted.ignored_by) == ({"protocol": 2}, {"provider_error": 2})
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert [(item.detail, item.occurrences, item.sample) for item in sent.invalid] == [
        ("not a frame", 1, b"garbage"),
        ("the provider reported an error (protocol)", 2, b"error one"),
    ]


async def test_a_frame_that_crashes_the_interpreter_is_in_the_ledger(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    with pytest.raises(ZeroDivisionError):
        take(intake, BUG)
    check_counts(intake)
    assert intake.statistics().pending == 0
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert [(item.reason, item.sample) for item in sent.invalid] == [(Reason.MALFORMED, b"bug")]


async def test_a_future_reading_does_not_replace_a_good_one_that_waits(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, frame("ferry-1", 0, soc_percent=50.0), frame("ferry-1", 9_999, soc_percent=99.0))
    assert values(intake.next_submission(float("inf"))) == {"x-ferry-1": {"soc_percent": 50.0}}


async def test_a_reading_of_now_is_not_of_the_future_after_a_long_wait(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    """After a long disconnection the first frames arrive before the first flush."""
    await trio.sleep(7200)
    take(
        intake,
        frame("ferry-1", 7200, soc_percent=50.0),
        frame("ferry-2", 7200 + 301, soc_percent=50.0),
    )
    assert values(intake.next_submission(float("inf"))) == {"x-ferry-1": {"soc_percent": 50.0}}


async def test_a_device_leaves_when_its_own_window_is_over(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, frame("ferry-1", 0, soc_percent=1.0))
    await trio.sleep(0.5)
    take(intake, frame("ferry-2", 0, soc_percent=1.0), frame("ferry-1", 0.5, soc_percent=2.0))
    assert intake.next_submission(0.0) is None
    assert values(intake.next_submission(0.1)) == {"x-ferry-1": {"soc_percent": 2.0}}
    assert values(intake.next_submission(0.6)) == {"x-ferry-2": {"soc_percent": 1.0}}


async def test_a_merged_update_was_received_with_its_newest_frame(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, frame("ferry-1", 0, soc_percent=1.0))
    await trio.sleep(0.75)
    take(intake, frame("ferry-1", 0.7, speed_kmh=30.0))
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    (update,) = sent.updates
    assert update.received_at == at(0.75)
    assert values(sent) == {"x-ferry-1": {"soc_percent": 1.0, "speed_kmh": 30.0}}
    assert update.received_at - update.readings[0].observed_at == timedelta(seconds=0.75)
    assert update.arrivals is None


async def test_readings_that_waited_for_long_keep_their_own_arrivals(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    """While the database is away, a window lasts for minutes."""
    take(intake, frame("ferry-1", 0, soc_percent=1.0, odometer_km=5.0))
    await trio.sleep(90)
    take(intake, frame("ferry-1", 90, speed_kmh=30.0), frame("ferry-1", 90, odometer_km=6.0))
    assert arrivals_of(intake.next_submission(float("inf"))) == {
        "soc_percent": at(0),
        "odometer_km": at(90),
        "speed_kmh": at(90),
    }


async def test_a_reading_ahead_of_its_arrival_keeps_it_to_the_fraction(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, frame("ferry-1", 10.3, soc_percent=1.0))
    await trio.sleep(0.5)
    take(intake, frame("ferry-1", 0.4, speed_kmh=30.0))
    assert arrivals_of(intake.next_submission(float("inf"))) == {
        "soc_percent": at(0),
        "speed_kmh": at(0.5),
    }


def arrivals_of(submission: Submission | None) -> dict[str, datetime]:
    assert submission is not None
    (update,) = submission.updates
    assert update.arrivals is not None
    return {
        reading.signal: arrival
        for reading, arrival in zip(update.readings, update.arrivals, strict=True)
    }


async def test_frames_are_named_once_in_lifecycle_records(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, ECHO, GARBAGE)
    assert [intake.newly_received(), intake.newly_received()] == [2, 0]
    take(intake, ECHO)
    assert intake.newly_received() == 1
