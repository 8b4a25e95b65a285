"""The poll plan: starts in each second, and which of them went wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.cycles import CycleOutcome, CycleTrigger
from domain.poll_plan import (
    JudgedStart,
    NewestStart,
    StartState,
    add_up,
    count_by_second,
    judge_start,
)
from domain.schedule import Place, next_start

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = Place("north", 0, 300, 60)  # its slots begin a minute after every fifth one
SLOT = NOON + timedelta(seconds=60)


def after(seconds: float) -> datetime:
    return SLOT + timedelta(seconds=seconds)


def started(
    late: float, trigger: CycleTrigger = CycleTrigger.SCHEDULE, slot: datetime = SLOT
) -> NewestStart:
    return NewestStart(slot, trigger, CycleOutcome.COMPLETED, slot + timedelta(seconds=late))


def test_starts_are_counted_in_the_second_of_the_schedule() -> None:
    places = [Place(f"w{ordinal}", ordinal, 300) for ordinal in range(200)]
    total = add_up(count_by_second(places), int(NOON.timestamp()), 300)
    expected = [0] * 300
    for place in places:
        slot = next_start(NOON, place).slot_start_at
        expected[int((slot - NOON).total_seconds()) % 300] += 1
    assert total == expected
    assert sum(total) == 200


def test_series_of_several_intervals_are_added_up() -> None:
    counts = count_by_second([Place("a", 0, 4, 1), Place("b", 0, 6, 3)])
    assert add_up(counts, 1, 12) == [1, 0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0]


def test_a_span_may_be_shorter_than_the_interval() -> None:
    assert add_up({300: [1] * 300}, 7, 10) == [1] * 10


@pytest.mark.parametrize(
    ("newest", "now", "expected"),
    [
        (started(0.04), after(10), JudgedStart(StartState.ON_TIME, SLOT, 0.04)),
        (started(2.5), after(10), JudgedStart(StartState.LATE, SLOT, 2.5)),
        (
            started(0.5, CycleTrigger.LATE),
            after(10),
            JudgedStart(StartState.LATE, SLOT, 0.5),
        ),
        (
            NewestStart(SLOT, CycleTrigger.SCHEDULE, CycleOutcome.MISSED, None),
            after(10),
            JudgedStart(StartState.MISSED, SLOT, None),
        ),
        (
            NewestStart(SLOT, CycleTrigger.SCHEDULE, CycleOutcome.SKIPPED, None),
            after(10),
            JudgedStart(StartState.ON_TIME, SLOT, None),
        ),
        (started(0), after(303), JudgedStart(StartState.ON_TIME, SLOT, 0)),
        (started(0), after(306), JudgedStart(StartState.OVERDUE, after(300), 6)),
        (None, after(3), JudgedStart(StartState.AWAITED, SLOT, None)),
        (None, after(30), JudgedStart(StartState.OVERDUE, SLOT, 30)),
    ],
)
def test_the_newest_start_is_judged(
    newest: NewestStart | None, now: datetime, expected: JudgedStart
) -> None:
    assert judge_start(PLACE, newest, now) == expected


def test_a_workspace_that_was_just_switched_on_is_awaited() -> None:
    place = PLACE._replace(since=after(20))
    assert judge_start(place, None, after(60)).state is StartState.AWAITED
