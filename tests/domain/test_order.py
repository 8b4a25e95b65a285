"""The order of readings: with a vendor's reception, without one, and a clock that is fast."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.acceptance import judge
from domain.held import Held, to_micros
from domain.model import CanonicalUpdate, Outcome
from domain.order import Order, Times, compare
from tests.domain.fixtures import NOW, ago, fold, reading, update, values_of

if TYPE_CHECKING:
    from datetime import datetime

    from domain.acceptance import DeviceFold

POLL = 60


def times(stated: float, arrival: float, reception: float | None = None) -> Times:
    """Times in seconds after NOW."""
    instants = [None if s is None else NOW + timedelta(seconds=s) for s in (arrival, reception)]
    return Times(NOW + timedelta(seconds=stated), *instants)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arriving", "held", "order"),
    [
        (times(5, 5), times(4, 9), Order.NEWER),
        (times(4, 9), times(5, 5), Order.OLDER),
        (times(5, 6), times(5, 7), Order.EQUAL),
        # the held clock is four minutes fast
        (times(61, 62), times(240, 1), Order.NEWER),
        (times(1, 62), times(240, 1), Order.OLDER),
        (times(240, 240), times(240, 1), Order.NEWER),
        # ten seconds are tolerated
        (times(8, 62), times(11, 1), Order.OLDER),
        (times(8, 62), times(11.1, 1), Order.NEWER),
        # the arriving clock is fast
        (times(240, 1), times(61, 62), Order.NEWER),
        (times(240, 1), times(250, 251), Order.OLDER),
        # both are
        (times(300, 62), times(240, 1), Order.NEWER),
        (times(240, 62), times(300, 1), Order.OLDER),
        # with the vendor's reception the earlier of the two counts
        (times(61, 99, 62), times(240, 99, 1), Order.NEWER),
        (times(240, 99, 1), times(61, 99, 62), Order.OLDER),
        (times(241, 99, 1), times(240, 99, 1), Order.NEWER),
        (times(240, 300, 1), times(240, 99, 1), Order.EQUAL),
        # of two vendors only one says its reception
        (times(61, 62, 62), times(240, 1), Order.NEWER),
    ],
)
def test_two_readings_are_ordered(arriving: Times, held: Times, order: Order) -> None:
    assert compare(arriving, held) is order


seconds = st.integers(-20, 20)
any_times = st.builds(times, seconds, seconds, st.none() | seconds)


def to_held(one: Times, value: int) -> Held:
    reception = None if one.reception is None else to_micros(one.reception)
    return Held(value, to_micros(one.stated), to_micros(one.arrival), reception)


@given(any_times, any_times)
def test_the_order_is_the_same_in_microseconds(one: Times, other: Times) -> None:
    assert compare(one, other) is compare(to_held(one, 1), to_held(other, 2))


@given(any_times, any_times)
def test_acceptance_orders_as_the_rule_says(arriving: Times, held: Times) -> None:
    device = fold()
    device.document["soc_percent"] = to_held(held, 1).entry
    order = compare(arriving, held)

    outcome = judge(sent(arriving, 2), device).outcome

    assert (
        outcome
        is {
            Order.NEWER: Outcome.ACCEPTED,
            Order.OLDER: Outcome.STALE,
            Order.EQUAL: Outcome.CONFLICT,
        }[order]
    )


def sent(one: Times, value: float) -> CanonicalUpdate:
    return update(
        reading("soc_percent", value, one.stated),
        received_at=one.arrival,
        reception_at=one.reception,
    )


# A history: records with their times. The value follows from what the record is, so that equal
# times are repetitions; which of two contradicting values stays depends on the order by design.
def value_of(stated: int, reception: int) -> float:
    return (stated + 20) * 2 + (min(stated, reception) + 20) / 41


records_with_reception = st.lists(st.tuples(seconds, seconds), max_size=8, unique_by=lambda r: r[0])


@given(records_with_reception.flatmap(lambda r: st.tuples(st.just(r), st.permutations(r + r))))
def test_with_receptions_neither_order_nor_replay_matters(histories: Any) -> None:
    straight, shuffled = histories
    device, other = fold(), fold()
    for place, (stated, reception) in enumerate(straight):
        judge(sent(times(stated, 20 + place, reception), value_of(stated, reception)), device)
    for place, (stated, reception) in enumerate([*shuffled, *straight]):
        judge(sent(times(stated, 20 + place, reception), value_of(stated, reception)), other)
    assert values_of(device) == values_of(other)


@given(records_with_reception.flatmap(lambda r: st.tuples(st.just(r), st.permutations(r + r))))
def test_with_receptions_a_replay_accepts_nothing_twice(histories: Any) -> None:
    _, shuffled = histories
    device, accepted = fold(), []
    for place, (stated, reception) in enumerate(shuffled):
        one = sent(times(stated, 20 + place, reception), value_of(stated, reception))
        if judge(one, device).outcome is Outcome.ACCEPTED:
            accepted.append(stated)
    assert len(accepted) == len(set(accepted))


# Records that are read again and again: which record, and how many seconds pass before.
polls = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 90)), max_size=30)


@given(st.lists(st.integers(-300, 300), min_size=6, max_size=6, unique=True), polls)
def test_only_readings_ahead_may_be_accepted_again(stated: list[int], reads: Any) -> None:
    device, clock, ahead = fold(), 0, 0
    accepted: list[int] = []
    for which, pause in reads:
        clock += pause
        result = judge(sent(times(stated[which], clock), which), device)
        if result.outcome is Outcome.ACCEPTED:
            accepted.append(which)
            ahead += result.ahead
    again = len(accepted) - len(set(accepted))
    # Each was displaced by a reading ahead, or was ahead itself before. All those are counted.
    assert again <= 2 * ahead
    assert again == 0 or ahead > 0


def poll(device: DeviceFold, now: datetime, records: list[datetime]) -> list[bool]:
    """Read all records in the order in which they came, as a vendor without a cursor sends them."""
    return [
        judge(update(reading("soc_percent", number, at), received_at=now), device).outcome
        is Outcome.ACCEPTED
        for number, at in enumerate(records)
    ]


def test_a_clock_four_minutes_fast_blocks_for_one_poll() -> None:
    device = fold()
    records = [NOW + timedelta(minutes=4)]
    assert poll(device, NOW, records) == [True]

    now = NOW + timedelta(seconds=POLL)
    judge(update(reading("soc_percent", 50.0, now), received_at=now), device)

    assert values_of(device) == {"soc_percent": (50.0, now)}


def test_a_reading_ahead_is_taken_again_until_its_time_only() -> None:
    device, times_accepted, ahead = fold(), 0, 0
    fast = NOW + timedelta(minutes=4)
    for number in range(12):
        now = NOW + timedelta(seconds=POLL * number)
        result = judge(update(reading("soc_percent", 99, fast), received_at=now), device)
        times_accepted += result.outcome is Outcome.ACCEPTED
        ahead += result.ahead
        judge(update(reading("soc_percent", number, now), received_at=now), device)
    # Every second poll while it is ahead, and once more when its time has come.
    assert (times_accepted, ahead) == (3, 2)
    assert values_of(device)["soc_percent"][0] == 11


def test_a_repeated_reading_ahead_is_a_duplicate() -> None:
    fast = NOW + timedelta(minutes=4)
    device = fold()
    poll(device, NOW, [fast])
    later = update(reading("soc_percent", 0, fast), received_at=NOW + timedelta(minutes=5))
    assert judge(later, device).outcome is Outcome.DUPLICATE


def test_each_reading_counts_by_its_own_arrival() -> None:
    device = fold()
    merged = update(
        reading("soc_percent", 80, ago(seconds=40)), reading("speed_kmh", 30, ago(seconds=1))
    )._replace(arrivals=(ago(seconds=55), NOW))

    result = judge(merged, device)

    assert result.ahead == 1  # by 15 s, at its own arrival
    assert Held.of(device.document["soc_percent"]).arrival == to_micros(ago(seconds=55))


def test_the_future_guard_counts_from_the_arrival() -> None:
    early = update(reading("soc_percent", 80, NOW), received_at=ago(minutes=6))
    assert judge(early, fold()).reason == "future_timestamp"
