"""Turns and manners: who speaks when."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from simulator.reporting import Reporting, Timetable


def turns_by_tick(timetable: Timetable, ticks: int, tick: float = 0.02) -> list[int]:
    return [len(timetable.due(number * tick)) for number in range(1, ticks + 1)]


def test_every_vehicle_gets_its_rate() -> None:
    timetable = Timetable([0.5, 1.0, 0.0])
    counts = Counter(
        turn.vehicle for number in range(1, 501) for turn in timetable.due(number * 0.02)
    )
    assert counts == {0: 21, 1: 10}  # phases 0 and 0.618 of a period


def test_turns_are_spread_evenly_over_the_ticks() -> None:
    counts = turns_by_tick(Timetable([0.5] * 1000), ticks=250)
    assert sum(counts) == pytest.approx(10_000, abs=1000)
    assert max(counts) - min(counts) <= 3


def test_a_vehicles_turns_are_one_period_apart_and_numbered() -> None:
    timetable = Timetable([0.25] * 3)
    turns = [
        turn
        for number in range(1, 101)
        for turn in timetable.due(number * 0.02)
        if turn.vehicle == 1
    ]
    assert [turn.number for turn in turns] == list(range(len(turns)))
    assert all(later.due - turn.due == pytest.approx(0.25) for turn, later in pairwise(turns))


def test_a_fleet_that_fell_behind_goes_on_without_a_burst() -> None:
    timetable = Timetable([0.1] * 100)
    timetable.due(1.0)
    assert len(timetable.due(60.0)) < 100 * 10
    assert timetable.missed > 50_000


def test_a_new_period_counts_from_now_and_the_numbers_go_on() -> None:
    timetable = Timetable([1.0])
    assert [turn.number for second in (0, 1, 2) for turn in timetable.due(second)] == [0, 1, 2]
    timetable.due(2.5)
    timetable.restart([10.0], 2.5)
    assert [(turn.due, turn.number) for turn in timetable.due(12.5)] == [(2.5, 3), (12.5, 4)]


@pytest.mark.parametrize(
    ("reporting", "silent_at", "heard_at"),
    [
        (Reporting(), [], [0, 1, 1e9]),
        (Reporting(never=True), [0, 1e9], []),
        (Reporting(silent_after_seconds=15), [15, 1e9], [0, 14.9]),
        (Reporting(silent_after_seconds=15, silent_until_seconds=40), [15, 39.9], [14, 40]),
        (Reporting(silent_after_seconds=0), [0, 5], []),
    ],
)
def test_silence(reporting: Reporting, silent_at: list[float], heard_at: list[float]) -> None:
    assert all(reporting.is_silent(seconds) for seconds in silent_at)
    assert not any(reporting.is_silent(seconds) for seconds in heard_at)


def test_one_signal_stops_and_the_others_go_on() -> None:
    reporting = Reporting(stopped_labels=(("soc", 10.0),))
    assert [reporting.has_stopped("soc", seconds) for seconds in (0, 9.9, 10)] == [
        False,
        False,
        True,
    ]
    assert not reporting.has_stopped("gps", 100)
