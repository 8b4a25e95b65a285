"""Explicit start offsets: no second is given to more workspaces than the limit (FR-002)."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import start_offsets
from domain.schedule import Place, next_start
from domain.start_offsets import (
    ExplicitPlace,
    OtherStarts,
    Synchronized,
    check_offset,
    count_starts,
    most_in_a_second,
    refuse_synchronized,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_PARTS = st.sampled_from([4, 6, 10, 12, 15, 30, 60])
ANY = st.integers(2, 40)


class Ask(NamedTuple):
    """A place asked for; `share` is where in its interval the offset is."""

    interval: int
    share: float

    @property
    def place(self) -> ExplicitPlace:
        return ExplicitPlace(self.interval, int(self.share * self.interval))


def asks(intervals: st.SearchStrategy[int]) -> st.SearchStrategy[list[Ask]]:
    shares = st.floats(0, 1, exclude_max=True)
    return st.lists(st.builds(Ask, intervals, shares), max_size=14)


def judge(place: ExplicitPlace, held: list[ExplicitPlace], active: int) -> Synchronized | None:
    others = OtherStarts(active, Counter(held))
    return refuse_synchronized(place, others, field="start_offset_seconds")


def fullest_second(places: list[ExplicitPlace]) -> int:
    """Play the schedule over the period after which it repeats, and count real starts."""
    period = timedelta(seconds=math.lcm(*(place.interval for place in places)))
    seconds: Counter[int] = Counter()
    for number, place in enumerate(places):
        starts = Place(f"w-{number}", number, place.interval, place.offset)
        at = next_start(EPOCH - timedelta(microseconds=1), starts).start_at
        while at < EPOCH + period:
            seconds[int((at - EPOCH).total_seconds())] += 1
            at = next_start(at, starts).start_at
    return max(seconds.values(), default=0)


@settings(max_examples=60, deadline=None)
@given(wanted=asks(HOUR_PARTS), active=st.sampled_from([0, 3, 350]))
def test_acceptance_9_no_second_gets_more_than_the_limit(wanted: list[Ask], active: int) -> None:
    held: list[ExplicitPlace] = []
    for ask in wanted:
        others = active + len(held)
        refusal = judge(ask.place, held, others)
        worst = fullest_second([*held, ask.place])
        # These intervals repeat soon, so that what is refused would really be too much.
        assert (refusal is not None) is (worst > most_in_a_second(others + 1))
        if refusal is None:
            held.append(ask.place)


@settings(max_examples=40, deadline=None)
@given(wanted=asks(ANY), limit=st.sampled_from([40, 7200]))
def test_acceptance_9_the_limit_holds_for_any_intervals(wanted: list[Ask], limit: int) -> None:
    """Too much may be refused here, never too little: the longest period is cut short."""
    held: list[ExplicitPlace] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start_offsets, "MAX_PERIOD_SECONDS", limit)
        for ask in wanted:
            if judge(ask.place, held, 3) is None:
                held.append(ask.place)
    assert most_together(held) <= 2


def most_together(places: list[ExplicitPlace]) -> int:
    """Return how many of them have a second in common: then every two of them have one."""
    most = 0
    for place in places:
        group: list[ExplicitPlace] = []
        for other in places:
            if meets(place, other) and all(meets(other, one) for one in group):
                group.append(other)
        most = max(most, len(group))
    return most


def meets(one: ExplicitPlace, other: ExplicitPlace) -> bool:
    return (one.offset - other.offset) % math.gcd(one.interval, other.interval) == 0


@settings(max_examples=100, deadline=None)
@given(wanted=asks(HOUR_PARTS | ANY), ask=st.builds(Ask, HOUR_PARTS, st.floats(0, 0.99)))
def test_acceptance_9_the_nearest_free_offset_is_accepted(wanted: list[Ask], ask: Ask) -> None:
    held = [one.place for one in wanted]
    refusal = judge(ask.place, held, 14)
    accepted = [
        offset
        for offset in range(ask.interval)
        if judge(ask.place._replace(offset=offset), held, 14) is None
    ]
    if refusal is None:
        assert ask.place.offset in accepted
    elif refusal.nearest_free is None:
        assert accepted == []
    else:
        assert refusal.nearest_free in accepted
        nearest = abs(refusal.nearest_free - ask.place.offset)
        assert nearest == min(abs(offset - ask.place.offset) for offset in accepted)


def test_two_may_start_in_a_second_and_a_third_may_not() -> None:
    place = ExplicitPlace(300, 30)
    assert judge(place, [place], 2) is None
    assert judge(place, [place, place], 2) == Synchronized(place, 2, 2, 31, "start_offset_seconds")


@pytest.mark.parametrize(
    ("active", "most"), [(1, 2), (200, 2), (299, 2), (300, 3), (1000, 10), (10_000, 100)]
)
def test_one_percent_of_the_active_may_start_in_a_second(active: int, most: int) -> None:
    place = ExplicitPlace(300, 0)
    assert most_in_a_second(active) == most
    assert judge(place, [place] * (most - 1), active - 1) is None
    assert judge(place, [place] * most, active - 1) is not None


def test_equally_near_the_later_offset_is_named() -> None:
    full = [ExplicitPlace(300, second) for second in (9, 10, 11) for _ in range(2)]
    refusal = judge(ExplicitPlace(300, 10), full, 6)
    assert refusal is not None
    assert refusal.nearest_free == 12


def test_the_last_offset_is_followed_by_one_before_it() -> None:
    full = [ExplicitPlace(300, 299)] * 2
    refusal = judge(ExplicitPlace(300, 299), full, 2)
    assert refusal is not None
    assert refusal.nearest_free == 298


def test_there_may_be_no_free_offset() -> None:
    full = [ExplicitPlace(2, second) for second in (0, 1) for _ in range(2)]
    refusal = judge(ExplicitPlace(60, 7), full, 4)
    assert refusal == Synchronized(ExplicitPlace(60, 7), 2, 2, None, "start_offset_seconds")


@pytest.mark.parametrize(
    ("other", "meets_it"),
    [((60, 30), True), ((600, 330), True), ((600, 331), False), ((45, 0), True), ((45, 1), False)],
)
def test_offsets_meet_if_they_agree_modulo_the_common_divisor(
    other: tuple[int, int], meets_it: bool
) -> None:
    """Of a workspace at 30 of 300."""
    counted = count_starts(300, {ExplicitPlace(*other): 5})[30]
    assert counted == (5 if meets_it else 0)


def test_workspaces_that_never_meet_each_other_are_not_added_up() -> None:
    """Each meets the first one, in every other of its slots."""
    apart = {ExplicitPlace(600, 30): 2, ExplicitPlace(600, 330): 2}
    assert count_starts(300, apart)[30] == 2
    assert count_starts(3600, apart)[30] == 2


@pytest.mark.parametrize(
    ("offset", "fields"),
    [
        (None, []),
        (0, []),
        (59, []),
        (60, ["start_offset_seconds"]),
        (-1, ["start_offset_seconds"]),
    ],
)
def test_an_offset_is_less_than_its_interval(offset: int | None, fields: list[str]) -> None:
    assert [fault.field for fault in check_offset(offset, 60)] == fields
