"""The feed's check of histories: passes for any coalescing, fails for any lost frame."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import orjson
import pytest

from benchmarks.feed import ALL_SIGNALS, Feed, Readings, vid_of
from benchmarks.verification import check_frames, check_granularity, check_history
from tests.benchmarks.test_verification import as_json, kinds

if TYPE_CHECKING:
    from collections.abc import Callable

FEED = Feed(vehicles=20, turns=400, started_ms=1_767_225_600_000)
Events = list[tuple[str, int, str]]


def coalesce(feed: Feed, random: Random, keeps: Callable[[int], bool] = lambda _: True) -> Events:
    """Events of a merge that takes each vehicle's buffer out at random moments; `keeps` sees a
    frame's number.
    """
    buffers: dict[str, Readings] = {}
    events: Events = []
    counts = dict.fromkeys(feed.vids(), 0)
    for number, payload in enumerate(feed.payloads()):
        point = orjson.loads(payload)["payload"]
        vid = point["vid"]
        if keeps(number):
            signal = ALL_SIGNALS[point["label"]]
            buffers.setdefault(vid, {})[signal] = (point["value"], point["time"])
        is_taken = number >= feed.frames - feed.vehicles or random.random() < 0.05
        if is_taken and (readings := buffers.pop(vid, None)):
            counts[vid] += 1
            events.append((vid, counts[vid], as_json(readings)))
    return sorted(events)


@pytest.mark.parametrize("seed", range(5))
def test_any_coalescing_without_loss_is_verified(seed: int) -> None:
    assert check_history(FEED, coalesce(FEED, Random(seed))) == []


LOSSES: list[tuple[str, Callable[[int], bool]]] = [
    ("nine of ten early ones", lambda number: number >= 2_000 or number % 10 == 9),
    ("one of ten", lambda number: number % 10 != 0),
    ("the first of each vehicle", lambda number: number >= FEED.vehicles * 5),
    ("the last of each vehicle", lambda number: number < FEED.frames - FEED.vehicles),
]


@pytest.mark.parametrize("keeps", [case[1] for case in LOSSES], ids=[case[0] for case in LOSSES])
def test_lost_frames_are_found(keeps: Callable[[int], bool]) -> None:
    assert kinds(check_history(FEED, coalesce(FEED, Random(1), keeps))) == {"history"}


@pytest.mark.parametrize("percent", [5, 10, 30])
def test_early_frames_are_missed_even_in_a_single_window(percent: int) -> None:
    """Without rare labels, later frames would make up for them."""
    early = FEED.frames * percent // 100
    whole: dict[str, Readings] = {}
    for number, payload in enumerate(FEED.payloads()):
        point = orjson.loads(payload)["payload"]
        if number >= early or number % 10 == 9:
            whole.setdefault(point["vid"], {})[ALL_SIGNALS[point["label"]]] = (
                point["value"],
                point["time"],
            )
    events = [(vid, 1, as_json(readings)) for vid, readings in sorted(whole.items())]
    assert kinds(check_history(FEED, events)) == {"history"}


def test_each_vehicle_sends_one_frame_a_turn_with_the_turns_time() -> None:
    points = [orjson.loads(payload)["payload"] for payload in FEED.payloads()]
    assert len(points) == FEED.frames
    for turn in range(FEED.turns):
        of_turn = points[turn * FEED.vehicles : (turn + 1) * FEED.vehicles]
        assert sorted(point["vid"] for point in of_turn) == FEED.vids()
        assert {point["time"] for point in of_turn} == {FEED.started_ms + turn}


def test_a_vehicle_sends_a_burst_before_the_next_vehicles_turn() -> None:
    feed = FEED._replace(turns=10, burst=5)
    points = [orjson.loads(payload)["payload"] for payload in feed.payloads()]
    bursts = [points[start : start + 5] for start in range(0, len(points), 5)]
    assert len(bursts) == 2 * feed.vehicles
    assert all(len({point["vid"] for point in burst}) == 1 for burst in bursts)
    assert [point["time"] - feed.started_ms for point in bursts[-1]] == [5, 6, 7, 8, 9]
    in_turns = [orjson.loads(payload)["payload"] for payload in feed._replace(burst=1).payloads()]
    assert sorted(map(str, points)) == sorted(map(str, in_turns))


def test_five_turns_have_five_labels_so_nothing_is_superseded() -> None:
    assert len({FEED._replace(turns=5).label(turn) for turn in range(5)}) == 5


def test_a_vehicle_with_one_event_at_the_end_is_found() -> None:
    often = [(vid, number, "") for vid in FEED.vids() for number in range(1, 11)]
    assert check_granularity(FEED, often, windows=20) == []
    rarely = [event for event in often if event[0] != vid_of(3) or event[1] == 1]
    assert kinds(check_granularity(FEED, rarely, windows=20)) == {"history"}


@pytest.mark.parametrize("count", ["received", "merged", "ignored", "malformed", "pending"])
def test_frame_counts_that_are_not_the_feeds_are_found(count: str) -> None:
    frames = {
        "received": FEED.frames,
        "merged": FEED.frames,
        "ignored": 0,
        "malformed": 0,
        "pending": 0,
    }
    ingest = {"submitted": 7, "pending": 0, "outcomes": {"accepted": 7, "stale": 0}}
    assert check_frames(FEED, frames, ingest, 7) == []
    assert kinds(check_frames(FEED, frames | {count: 3}, ingest, 7)) == {"identities"}
    assert kinds(check_frames(FEED, frames, ingest, 6)) == {"identities"}
