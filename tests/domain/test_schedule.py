"""The schedule: staggered, deterministic, never out of its slot."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.cycles import CycleKey, CycleTrigger
from domain.schedule import (
    Place,
    Start,
    cycle_deadline,
    cycle_id,
    is_slot_of,
    jitter_seconds,
    late_start,
    leaves_enough_of_slot,
    lowest_free,
    missed_slots,
    next_start,
    phase_of,
    slot_of,
    starts_bound,
    worst_second,
    worst_second_of_all,
)
from tests.domain.fixtures import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

ordinals = st.integers(0, 10_000)
intervals = st.sampled_from([2, 5, 60, 300, 900, 3600])
HOUR_PARTS = [60, 120, 180, 240, 300, 360, 600, 720, 900, 1200, 1800, 3600]
_FROM, _TO = datetime(2020, 1, 1), datetime(2040, 1, 1)  # noqa: DTZ001 Hypothesis adds the zone
instants = st.datetimes(_FROM, _TO, timezones=st.just(UTC))
names = st.text(max_size=12)
HARBOUR = Place("harbour-lines", 3, 300)


@st.composite
def places(draw: st.DrawFn, any_interval: st.SearchStrategy[int] = intervals) -> Place:
    interval = draw(any_interval)
    offset = draw(st.none() | st.integers(0, interval - 1))
    return Place(draw(names), draw(ordinals), interval, offset)


def test_the_bound_is_that_of_the_series_added_up() -> None:
    assert starts_bound({}) == 0
    assert starts_bound({300: 2999}) == pytest.approx(1.3 * 3000 / 300 + 3)
    assert starts_bound({300: 699, 60: 299, 900: 0}) == pytest.approx(
        1.3 * (700 / 300 + 300 / 60 + 1 / 900) + 5
    )


@pytest.mark.parametrize("interval", [2, 5, 60, 300, 900, 3600])
@pytest.mark.parametrize("workspaces", [1, 2, 7, 100, 999, 5_000, 10_000])
def test_fr_002_no_second_holds_more_starts_than_its_bound(workspaces: int, interval: int) -> None:
    assert worst_second(range(workspaces), interval) <= starts_bound({interval: workspaces - 1})


@given(workspaces=st.integers(1, 10_000))
def test_fr_002_the_bound_holds_at_every_fleet_size(workspaces: int) -> None:
    assert worst_second(range(workspaces), 300) <= starts_bound({300: workspaces - 1})


def test_fr_002_a_fleet_of_which_a_third_is_polled_every_minute() -> None:
    """700 workspaces at 300 s and 300 at 60 s. In one series over both it was 18 against 12.5."""
    series = {300: range(700), 60: range(300)}
    assert 10 <= worst_second_of_all(series) <= starts_bound({300: 699, 60: 299}) < 13.6


def test_fr_002_first_workspaces_of_intervals_start_apart() -> None:
    series = {interval: [0] for interval in HOUR_PARTS}
    assert len(series) == 12
    assert worst_second_of_all(series) <= 3


@pytest.mark.parametrize(
    "counts",
    [
        {120: 853, 180: 1078, 600: 995},  # 25 against 24.2 with a jitter of a quarter of a second
        {180: 1230, 240: 388, 600: 994},
        {76: 290, 77: 289},  # ten minutes of bad luck in 98
        {60: 124, 240: 173, 300: 384, 720: 467, 900: 1731, 1200: 1625},
    ],
)
def test_fr_002_the_bound_holds_for_the_worst_fleets_found(
    counts: dict[int, int],
) -> None:
    series = {interval: range(count) for interval, count in counts.items()}
    highest = {interval: count - 1 for interval, count in counts.items()}
    assert worst_second_of_all(series) <= starts_bound(highest)


@settings(max_examples=40, deadline=None)
@given(counts=st.dictionaries(st.integers(2, 3600), st.integers(1, 4_000), min_size=1, max_size=3))
def test_fr_002_the_bound_holds_for_any_three_intervals(
    counts: dict[int, int],
) -> None:
    """The worst seconds of the series added up: no alignment of the three can be worse."""
    worst = sum(worst_second(range(count), interval) for interval, count in counts.items())
    assert worst <= starts_bound({interval: count - 1 for interval, count in counts.items()})


@settings(max_examples=40, deadline=None)
@given(
    counts=st.dictionaries(
        st.sampled_from(HOUR_PARTS), st.integers(1, 400), min_size=1, max_size=12
    )
)
def test_fr_002_the_bound_holds_for_all_divisors_of_an_hour(
    counts: dict[int, int],
) -> None:
    series = {interval: range(count) for interval, count in counts.items()}
    highest = {interval: count - 1 for interval, count in counts.items()}
    assert worst_second_of_all(series) <= starts_bound(highest)


def test_fr_002_jitter_keeps_starts_within_the_worst_second() -> None:
    """Of two intervals together, over the five minutes after which they repeat."""
    series = {60: range(600), 300: range(1_000)}
    starts = sorted(
        start
        for interval, ordinals_in_use in series.items()
        for ordinal in ordinals_in_use
        for start in starts_within(
            timedelta(seconds=300), Place(f"w-{interval}-{ordinal}", ordinal, interval)
        )
    )
    fullest = max(
        bisect_left(starts, start + timedelta(seconds=1)) - at for at, start in enumerate(starts)
    )
    assert 14 <= fullest <= worst_second_of_all(series) <= starts_bound({60: 599, 300: 999})


def starts_within(span: timedelta, place: Place) -> Iterator[datetime]:
    at = next_start(NOW, place).start_at
    while at < NOW + span:
        yield at
        at = next_start(at, place).start_at


def test_the_worst_second_finds_a_schedule_that_is_synchronised() -> None:
    assert worst_second([5] * 40, 300) == 40
    assert worst_second([], 300) == 0
    assert worst_second_of_all({60: [5] * 40, 300: [0]}) >= 40
    assert worst_second_of_all({}) == 0


def test_a_period_too_long_to_count_takes_the_worst_of_each() -> None:
    series = {3593: range(50), 3583: range(50), 3581: range(50)}
    assert (
        worst_second_of_all(series)
        == sum(worst_second(of, interval) for interval, of in series.items())
        == 3
    )


@pytest.mark.parametrize(
    ("taken", "free"), [([], 0), ([1, 2], 0), ([0, 1, 3, 7], 2), ([2, 0, 1], 3)]
)
def test_the_lowest_free_ordinal_is_in_the_first_gap(taken: list[int], free: int) -> None:
    assert lowest_free(taken) == free


@given(after=instants, place=places())
def test_fr_001_every_slot_has_one_start_without_drift(after: datetime, place: Place) -> None:
    starts = [next_start(after, place)]
    while len(starts) < 4:
        starts.append(next_start(starts[-1].start_at, place))
    gaps = {second.slot_start_at - first.slot_start_at for first, second in pairwise(starts)}
    assert gaps == {timedelta(seconds=place.interval)}
    assert (
        starts[0].start_at
        > after
        >= starts[0].start_at - timedelta(seconds=place.interval + jitter_seconds(place.interval))
    )


@given(after=instants, place=places())
def test_jitter_never_leaves_the_slot(after: datetime, place: Place) -> None:
    start = next_start(after, place)
    late_by = (start.start_at - start.slot_start_at).total_seconds()
    assert 0 <= late_by < jitter_seconds(place.interval)
    assert slot_of(start.start_at, place) == start.slot_start_at


@given(after=instants, place=places())
def test_a_slot_is_named_by_its_own_first_moment(after: datetime, place: Place) -> None:
    slot = slot_of(after, place)
    assert slot <= after < slot + timedelta(seconds=place.interval)
    assert slot_of(slot, place) == slot
    assert slot_of(slot - timedelta(microseconds=1), place) == slot - timedelta(
        seconds=place.interval
    )


@given(after=instants, place=places(st.integers(2, 3600)))
def test_slots_begin_one_phase_after_an_epoch_multiple(after: datetime, place: Place) -> None:
    since_1970 = slot_of(after, place) - datetime(1970, 1, 1, tzinfo=UTC)
    phase = since_1970 % timedelta(seconds=place.interval)
    wanted = phase_of(place.ordinal, place.interval) if place.offset is None else place.offset
    assert phase == timedelta(seconds=wanted)


@given(after=instants, place=places(), later=st.floats(0, 1))
def test_fr_002_a_restart_finds_the_same_starts(
    after: datetime, place: Place, later: float
) -> None:
    start = next_start(after, place)
    restarted_at = after + later * (start.start_at - after)
    if restarted_at < start.start_at:
        assert next_start(restarted_at, place) == start


def test_a_known_start_stays_where_it_is() -> None:
    """Two shards of different releases must agree; this fails when the arithmetic changes."""
    assert phase_of(0, 300) == pytest.approx(0.25 + 299.5 * 0.264068)
    assert phase_of(1, 300) == pytest.approx(0.25 + 299.5 * (0.264068 + 0.618034))
    assert phase_of(0, 60) == pytest.approx(0.25 + 59.5 * 0.8528136)
    assert next_start(NOW, HARBOUR) == Start(
        datetime(2026, 5, 1, 12, 0, 35, 641905, tzinfo=UTC),
        datetime(2026, 5, 1, 12, 0, 35, 648666, tzinfo=UTC),
    )


@given(now=instants, place=places())
@example(now=datetime(2020, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC), place=Place("", 1, 2, 1))
def test_a_late_start_stays_within_the_present_slot(now: datetime, place: Place) -> None:
    start = late_start(now, place)
    assert start.slot_start_at == slot_of(now, place)
    assert now <= start.start_at < start.slot_start_at + timedelta(seconds=place.interval)
    assert leaves_enough_of_slot(start, place.interval) is leaves_enough_of_slot(
        Start(start.slot_start_at, now), place.interval
    )


def test_a_regular_start_to_come_is_the_late_start_too() -> None:
    regular = next_start(NOW, HARBOUR)
    assert late_start(regular.slot_start_at, HARBOUR) == regular


@pytest.mark.parametrize("minutes", [0, 1, 2, 3, 4])
def test_fr_002_a_boot_of_the_fleet_starts_nothing_at_once(
    minutes: int,
) -> None:
    now = NOW + timedelta(minutes=minutes)
    starts = [late_start(now, Place(f"workspace-{n}", n, 300)) for n in range(3_000)]
    worth_it = [start for start in starts if leaves_enough_of_slot(start, 300)]

    assert fullest_second(worth_it, now) <= 20  # the regular run has 10
    assert fullest_second([start for start in starts if start not in worth_it], now) <= 30
    assert 2_090 <= len(worth_it) <= 2_110  # everybody with 30% of the slot left


@pytest.mark.parametrize(("workspaces", "interval"), [(3_000, 300), (1_000, 30), (300, 30)])
@pytest.mark.parametrize("share", [0.0, 0.23, 0.5, 0.81])
def test_fr_002_a_boot_has_at_most_twice_the_regular_starts_in_a_second(
    workspaces: int, interval: int, share: float
) -> None:
    now = NOW + timedelta(seconds=share * interval)
    begun: list[datetime] = []
    for ordinal in range(workspaces):
        place = Place(f"workspace-{ordinal}", ordinal, interval)
        start = late_start(now, place)
        if leaves_enough_of_slot(start, interval):
            begun.append(start.start_at)
        begun.append(next_start(start.start_at, place).start_at)
    seconds = sorted((instant - now).total_seconds() for instant in begun)
    most = max(place + 1 - bisect_left(seconds, at - 1) for place, at in enumerate(seconds))
    assert most <= 2 * starts_bound({interval: workspaces - 1})


def fullest_second(starts: list[Start], now: datetime) -> int:
    return max(Counter(int((start.start_at - now).total_seconds()) for start in starts).values())


@pytest.mark.parametrize(("left", "room"), [(300, True), (90, True), (89, False)])
def test_a_late_start_needs_thirty_percent_of_the_slot(left: int, room: bool) -> None:
    assert leaves_enough_of_slot(Start(NOW, NOW + timedelta(seconds=300 - left)), 300) is room


@given(after=instants, place=places())
def test_a_regular_cycle_has_four_fifths_of_the_interval(after: datetime, place: Place) -> None:
    start = next_start(after, place)
    assert cycle_deadline(start, place.interval) - start.start_at == timedelta(
        seconds=0.8 * place.interval
    )
    assert cycle_deadline(start, place.interval) < next_start(start.start_at, place).start_at


def test_a_late_cycle_leaves_time_to_commit_before_the_next() -> None:
    late = Start(NOW, NOW + timedelta(seconds=200))
    assert cycle_deadline(late, 300) == NOW + timedelta(seconds=270)


def test_missed_slots_are_over_and_limited_to_the_newest() -> None:
    minute = timedelta(seconds=60)
    place = Place("harbour-lines", 3, 60)
    last = slot_of(NOW, place)
    now = last + 4 * minute + timedelta(seconds=1)
    assert missed_slots(last, now, place, 10) == [
        last + minute,
        last + 2 * minute,
        last + 3 * minute,
    ]
    assert missed_slots(last, now, place, 2) == [last + 2 * minute, last + 3 * minute]
    assert missed_slots(last, last + minute, place, 10) == []
    assert missed_slots(now, last, place, 10) == []


def test_an_explicit_offset_is_counted_from_epoch_multiples() -> None:
    place = HARBOUR._replace(offset=35)
    start = next_start(NOW, place)
    assert start.slot_start_at == datetime(2026, 5, 1, 12, 0, 35, tzinfo=UTC)
    assert start.slot_start_at <= start.start_at < start.slot_start_at + timedelta(seconds=0.05)
    assert next_start(NOW, place._replace(ordinal=9)) == start
    assert next_start(NOW, place._replace(offset=0)).slot_start_at == NOW


def test_a_slot_is_of_the_place_that_it_began_at() -> None:
    place = HARBOUR._replace(offset=35, since=NOW)
    slot = slot_of(NOW, place)
    whole = timedelta(seconds=300)
    assert [is_slot_of(place, one) for one in (slot - whole, slot, slot + whole)] == [
        False,
        True,
        True,
    ]
    assert not is_slot_of(place, slot + timedelta(seconds=1))
    assert is_slot_of(place._replace(since=None), slot - whole)


def test_a_cycle_id_is_readable_and_differs_in_each_part() -> None:
    key = CycleKey("harbour-lines", NOW, CycleTrigger.SCHEDULE, 1)
    others = [
        key._replace(workspace_id="hill-lines"),
        key._replace(slot_start_at=NOW + timedelta(microseconds=1)),
        key._replace(trigger=CycleTrigger.LATE),
        key._replace(attempt=2),
    ]
    assert cycle_id(key) == "20260501T120000Z-schedule-1-c91278bf"
    assert len({cycle_id(each) for each in [key, *others]}) == 5
