"""The schedule: staggered, deterministic, never out of its slot."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import CycleKey, CycleTrigger
from domain.schedule import (
    Start,
    cycle_deadline,
    cycle_id,
    jitter_seconds,
    late_start,
    leaves_room,
    missed_slots,
    next_start,
    phase_of,
    slot_of,
    worst_second,
)
from tests.domain.cast import NOW

ordinals = st.integers(0, 10_000)
intervals = st.sampled_from([2, 5, 60, 300, 900, 3600])
instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
names = st.text(max_size=12)


def bound(workspaces: int, interval: float) -> float:
    return 1.3 * workspaces / interval + 3


@pytest.mark.parametrize("interval", [2, 5, 60, 300, 900, 3600])
@pytest.mark.parametrize("workspaces", [1, 2, 7, 100, 999, 5_000, 10_000])
def test_fr_002_no_second_holds_more_starts_than_its_bound(workspaces: int, interval: int) -> None:
    assert worst_second(range(workspaces), interval) <= bound(workspaces, interval)


@given(workspaces=st.integers(1, 10_000))
def test_fr_002_the_bound_holds_at_every_fleet_size(workspaces: int) -> None:
    assert worst_second(range(workspaces), 300) <= bound(workspaces, 300)


def test_fr_002_real_starts_with_their_jitter_stay_within_the_worst_second() -> None:
    starts = sorted(next_start(NOW, f"workspace-{n}", n, 60).start_at for n in range(3_000))
    fullest = max(
        sum(start <= other < start + timedelta(seconds=1) for other in starts[index : index + 200])
        for index, start in enumerate(starts)
    )
    assert 50 <= fullest <= worst_second(range(3_000), 60) <= bound(3_000, 60)


def test_the_worst_second_finds_a_schedule_that_is_synchronised() -> None:
    assert worst_second([5] * 40, 300) == 40
    assert worst_second([], 300) == 0


@given(after=instants, name=names, ordinal=ordinals, interval=intervals)
def test_fr_001_every_slot_has_exactly_one_start_and_the_period_never_drifts(
    after: datetime, name: str, ordinal: int, interval: int
) -> None:
    starts = [next_start(after, name, ordinal, interval)]
    while len(starts) < 4:
        starts.append(next_start(starts[-1].start_at, name, ordinal, interval))
    gaps = {second.slot_start_at - first.slot_start_at for first, second in pairwise(starts)}
    assert gaps == {timedelta(seconds=interval)}
    assert starts[0].start_at > after >= starts[0].start_at - timedelta(seconds=interval + jitter_seconds(interval))


@given(after=instants, name=names, ordinal=ordinals, interval=intervals)
def test_jitter_never_leaves_the_slot(after: datetime, name: str, ordinal: int, interval: int) -> None:
    start = next_start(after, name, ordinal, interval)
    late_by = (start.start_at - start.slot_start_at).total_seconds()
    assert 0 <= late_by < jitter_seconds(interval)
    assert slot_of(start.start_at, ordinal, interval) == start.slot_start_at


@given(after=instants, ordinal=ordinals, interval=intervals)
def test_a_slot_is_named_by_its_own_first_moment(after: datetime, ordinal: int, interval: int) -> None:
    slot = slot_of(after, ordinal, interval)
    assert slot <= after < slot + timedelta(seconds=interval)
    assert slot_of(slot, ordinal, interval) == slot
    assert slot_of(slot - timedelta(microseconds=1), ordinal, interval) == slot - timedelta(seconds=interval)


@given(after=instants, name=names, ordinal=ordinals, interval=intervals, later=st.floats(0, 1))
def test_fr_002_a_restart_finds_the_same_starts(
    after: datetime, name: str, ordinal: int, interval: int, later: float
) -> None:
    start = next_start(after, name, ordinal, interval)
    restarted_at = after + later * (start.start_at - after)
    if restarted_at < start.start_at:
        assert next_start(restarted_at, name, ordinal, interval) == start


def test_a_known_start_stays_where_it_is() -> None:
    """Two shards of different releases must agree; this fails when the arithmetic changes."""
    assert phase_of(0, 300) == 0.25
    assert phase_of(1, 300) == pytest.approx(185.3511)
    assert next_start(NOW, "harbour-lines", 3, 300) == Start(
        datetime(2026, 5, 1, 12, 4, 16, 53539, tzinfo=UTC), datetime(2026, 5, 1, 12, 4, 16, 127160, tzinfo=UTC)
    )


@given(now=instants, name=names, ordinal=ordinals, interval=intervals)
def test_a_late_start_stays_in_the_present_slot_and_before_the_next(
    now: datetime, name: str, ordinal: int, interval: int
) -> None:
    start = late_start(now, name, ordinal, interval)
    assert start.slot_start_at == slot_of(now, ordinal, interval)
    assert now <= start.start_at < start.slot_start_at + timedelta(seconds=interval)
    assert leaves_room(start, interval) is leaves_room(Start(start.slot_start_at, now), interval)


def test_when_the_regular_start_is_still_to_come_it_is_the_late_one_too() -> None:
    regular = next_start(NOW, "harbour-lines", 3, 300)
    assert late_start(regular.slot_start_at, "harbour-lines", 3, 300) == regular


@pytest.mark.parametrize("minutes", [0, 1, 2, 3, 4])
def test_fr_002_a_boot_of_the_whole_fleet_fires_nothing_at_once_whenever_it_happens(minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)
    starts = [late_start(now, f"workspace-{n}", n, 300) for n in range(3_000)]
    worth_it = [start for start in starts if leaves_room(start, 300)]

    assert fullest_second(worth_it, now) <= 30  # the regular run has 10
    assert fullest_second([start for start in starts if start not in worth_it], now) <= 30
    assert 2_090 <= len(worth_it) <= 2_110  # everybody with 30% of the slot left


def fullest_second(starts: list[Start], now: datetime) -> int:
    return max(Counter(int((start.start_at - now).total_seconds()) for start in starts).values())


@pytest.mark.parametrize(("left", "room"), [(300, True), (90, True), (89, False)])
def test_a_late_start_needs_thirty_percent_of_the_slot(left: int, room: bool) -> None:
    assert leaves_room(Start(NOW, NOW + timedelta(seconds=300 - left)), 300) is room


@given(after=instants, name=names, ordinal=ordinals, interval=intervals)
def test_a_regular_cycle_has_four_fifths_of_the_interval(
    after: datetime, name: str, ordinal: int, interval: int
) -> None:
    start = next_start(after, name, ordinal, interval)
    assert cycle_deadline(start, interval) - start.start_at == timedelta(seconds=0.8 * interval)
    assert cycle_deadline(start, interval) < next_start(start.start_at, name, ordinal, interval).start_at


def test_a_late_cycle_stops_fetching_in_time_for_its_commits_before_the_next_slot() -> None:
    late = Start(NOW, NOW + timedelta(seconds=200))
    assert cycle_deadline(late, 300) == NOW + timedelta(seconds=270)


def test_missed_slots_are_those_that_are_over_and_of_too_many_the_newest() -> None:
    minute = timedelta(seconds=60)
    last = slot_of(NOW, 3, 60)
    now = last + 4 * minute + timedelta(seconds=1)
    assert missed_slots(last, now, 3, 60, 10) == [last + minute, last + 2 * minute, last + 3 * minute]
    assert missed_slots(last, now, 3, 60, 2) == [last + 2 * minute, last + 3 * minute]
    assert missed_slots(last, last + minute, 3, 60, 10) == []
    assert missed_slots(now, last, 3, 60, 10) == []


def test_a_cycle_id_is_readable_and_differs_in_each_of_its_four_parts() -> None:
    key = CycleKey("harbour-lines", NOW, CycleTrigger.SCHEDULE, 1)
    others = [
        key._replace(workspace_id="hill-lines"),
        key._replace(slot_start_at=NOW + timedelta(microseconds=1)),
        key._replace(trigger=CycleTrigger.LATE),
        key._replace(attempt=2),
    ]
    assert cycle_id(key) == "20260501T120000Z-schedule-1-c91278bf"
    assert len({cycle_id(each) for each in [key, *others]}) == 5
