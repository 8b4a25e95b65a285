"""What a stream refuses is held against its device, counted, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.intake import FrameIntake
from domain.model import ConnectionFactKind, FaultClass, InvalidItem, Reading, Reason
from domain.position import POSITION
from ports.providers import FrameVerdict
from tests.actors.harness import HARBOUR, LIVE
from tests.actors.instants import at
from tests.actors.scripted import ECHO, GARBAGE, ScriptedStreamer, frame

if TYPE_CHECKING:
    from trio.testing import MockClock

    from domain.model import Submission
    from tests.actors.harness import Shard

interpret = ScriptedStreamer().interpret


@pytest.fixture
async def intake(shard: Shard) -> FrameIntake:
    return FrameIntake(LIVE, await shard.view(), shard.clock)


def take(intake: FrameIntake, *frames: str) -> None:
    for one in frames:
        intake.take_all(interpret, [one], trio.current_time())


def take_bad(intake: FrameIntake, external_id: str | None, text: str = "bad", **rest: Any) -> None:
    verdict = FrameVerdict(external_id, (), **({"malformed": "time is not an instant"} | rest))
    intake.take_all(lambda _: verdict, [text], trio.current_time())


def take_readings(intake: FrameIntake, readings: tuple[Reading, ...], received: float) -> None:
    intake.take_all(lambda _: FrameVerdict("x-ferry-1", readings), ["a frame"], received)


def refused(intake: FrameIntake) -> list[tuple[Any, ...]]:
    """Device, reason, signal and count of the items that are taken now."""
    sent = intake.next_submission(float("inf"))
    return [
        (item.external_id, item.reason.value, item.signal, item.occurrences)
        for item in (sent.invalid if sent else ())
    ]


async def test_a_malformed_frame_is_held_against_its_vehicle(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take_bad(intake, "x-ferry-1", "first", signal="soc_percent")
    await trio.sleep(0.5)
    take_bad(intake, "x-ferry-1", "second", signal="soc_percent")
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert sent.invalid == (
        InvalidItem(
            HARBOUR,
            LIVE,
            "x-ferry-1",
            Reason.MALFORMED,
            "time is not an instant",
            b"first",
            2,
            device_id="ferry-1",
            received_at=at(0.5),
            signal="soc_percent",
        ),
    )


async def test_a_frame_from_the_future_is_held_against_its_vehicle(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, frame("ferry-2", 301, soc_percent=1.0), frame("stranger", 301, soc_percent=1.0))
    assert refused(intake) == [
        ("x-ferry-2", "future_timestamp", "soc_percent", 1),
        ("x-stranger", "future_timestamp", "soc_percent", 1),
    ]


async def test_an_invalid_reading_that_meets_a_valid_one_is_not_lost(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    for second, value in enumerate([255.0, 50.0, 254.0]):
        take(intake, frame("ferry-1", second, soc_percent=value))
    assert intake.statistics().refused == {"invalid": {"soc_percent": 2}}
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert [update.readings[0].value for update in sent.updates] == [50.0]
    assert [(item.device_id, item.detail, item.occurrences) for item in sent.invalid] == [
        ("ferry-1", "soc_percent: above 100 %", 2)
    ]
    assert b"255" in sent.invalid[0].sample


@pytest.mark.parametrize(
    ("value", "reason", "is_held_against"),
    [
        ((48.2, 655.35), "invalid", True),
        ((148.2, 5.1), "invalid", True),
        ((48.2, float("nan")), "invalid", True),
        ((0.0, 0.0), "not_available", False),
    ],
)
async def test_a_position_is_refused_as_a_whole(
    intake: FrameIntake,
    value: tuple[float, float],
    reason: str,
    is_held_against: bool,
    autojump_clock: MockClock,
) -> None:
    for second, pair in enumerate([(52.09, 5.11), value]):
        readings = (Reading(POSITION, pair, at(second)),)
        take_readings(intake, readings, float(second))
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert [update.readings for update in sent.updates] == [
        (Reading(POSITION, (52.09, 5.11), at(0)),)
    ]
    assert [(item.signal, item.reason, item.refused_whole) for item in sent.invalid] == [
        (POSITION, reason, is_held_against)
    ]


async def test_refusals_of_different_signals_are_told_apart(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    for signal in ("soc_percent", "speed_kmh", "soc_percent", None):
        take_bad(intake, "x-ferry-1", signal=signal)
    assert refused(intake) == [
        ("x-ferry-1", "malformed", "soc_percent", 2),
        ("x-ferry-1", "malformed", "speed_kmh", 1),
        ("x-ferry-1", "malformed", None, 1),
    ]


async def test_unknown_names_are_bounded_and_known_ones_have_room(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    for number in range(150):
        take_bad(intake, f"x-stranger-{number}")
    take_bad(intake, "x-ferry-1")
    items = refused(intake)
    assert len(items) == 102
    assert (items[100], items[101]) == (
        (None, "malformed", None, 50),
        ("x-ferry-1", "malformed", None, 1),
    )
    take_bad(intake, "x-stranger-149")  # a new window has room again
    assert refused(intake) == [("x-stranger-149", "malformed", None, 1)]


async def test_a_submission_has_at_most_five_hundred_refusals(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    for number in range(60):
        for signal in map(str, range(10)):
            take_bad(intake, f"x-stranger-{number}", signal=signal)
    assert [len(refused(intake)) for _ in range(3)] == [500, 100, 0]


async def test_an_error_report_is_no_refusal_of_the_vehicle(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take_bad(
        intake, "x-ferry-1", malformed=None, ignored="provider_error", fault=FaultClass.PROTOCOL
    )
    sent = intake.next_submission(float("inf"))
    assert sent is not None
    assert [(item.external_id, item.refused_whole) for item in sent.invalid] == [
        ("x-ferry-1", False)
    ]


def facts(sent: Submission | None) -> list[tuple[ConnectionFactKind, Any, str | None]]:
    return [(fact.kind, fact.at, fact.detail) for fact in (sent.facts if sent else ())]


async def test_a_stream_of_which_nothing_can_be_read_says_so(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    """Once in ten seconds, and once when frames can be read again."""
    told = []
    for _ in range(25):
        take(intake, GARBAGE, ECHO)
        told += facts(intake.next_submission(trio.current_time() - 1))
        await trio.sleep(1)
    take(intake, frame("ferry-1", 25, soc_percent=50.0))
    told += facts(intake.next_submission(float("inf")))
    assert told == [
        *((ConnectionFactKind.UNREADABLE, at(second), "not a frame") for second in (0, 10, 20)),
        (ConnectionFactKind.READABLE, at(25), None),
    ]
    assert facts(intake.next_submission(float("inf"))) == []


async def test_bad_frames_among_good_ones_are_no_trouble_of_the_stream(
    intake: FrameIntake, autojump_clock: MockClock
) -> None:
    take(intake, GARBAGE, frame("ferry-1", 0, soc_percent=50.0))
    take_bad(intake, "x-ferry-1")
    assert facts(intake.next_submission(float("inf"))) == []
