"""Rates hold for every name in bounded memory; a name gains nothing when its bucket is dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.buckets import RateBuckets


def taken(buckets: RateBuckets, name: str, now: float, tries: int) -> int:
    return sum(buckets.take(name, now) == 0 for _ in range(tries))


def test_a_bucket_holds_one_second_of_its_rate() -> None:
    buckets = RateBuckets(10)
    assert taken(buckets, "a", 100.0, 50) == 10
    assert buckets.take("a", 100.0) == pytest.approx(0.1)
    assert taken(buckets, "a", 100.5, 50) == 5
    assert taken(buckets, "a", 200.0, 50) == 10


def test_a_high_rate_is_held_to_the_token() -> None:
    buckets = RateBuckets(1000)
    assert taken(buckets, "a", 100.0, 1500) == 1000
    assert taken(buckets, "a", 100.0105, 1500) == 10


def test_a_rate_below_one_still_holds_one_token() -> None:
    buckets = RateBuckets(0.5)
    assert taken(buckets, "a", 100.0, 3) == 1
    assert buckets.take("a", 100.0) == pytest.approx(2.0)
    assert buckets.take("a", 102.0) == 0


def test_names_have_buckets_of_their_own() -> None:
    buckets = RateBuckets(10)
    assert [taken(buckets, name, 100.0, 20) for name in "ab"] == [10, 10]


def test_a_flood_of_names_shares_one_bucket_and_drops_none() -> None:
    buckets = RateBuckets(10, max_buckets=5)
    assert taken(buckets, "known", 100.0, 20) == 10
    flood = sum(taken(buckets, f"n{number}", 100.0, 10) for number in range(1000))
    assert flood == 4 * 10 + 10  # four of their own, and the shared one
    assert taken(buckets, "known", 100.0, 10) == 0
    assert len(buckets) == 6


def test_full_buckets_are_forgotten_in_favour_of_new_names() -> None:
    buckets = RateBuckets(10, max_buckets=5)
    for number in range(100):
        assert taken(buckets, f"n{number}", 100.0 + 2 * number, 20) == 10
    assert len(buckets) <= 5


@given(
    rate=st.sampled_from([0.5, 1.0, 7.0, 1000.0]),
    steps=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 0.4)), max_size=200),
)
def test_nobody_ever_gets_more_than_the_rate_and_a_burst(
    rate: float, steps: list[tuple[str, float]]
) -> None:
    buckets, now = RateBuckets(rate, max_buckets=3), 1000.0
    got = dict.fromkeys("abcdefgh", 0)
    for name, pause in steps:
        now += pause
        got[name] += buckets.take(name, now) == 0
    most = rate * (now - 1000.0) + max(1.0, rate) + 1
    # A name may have had its own bucket, and the shared one while it had none.
    assert all(count <= 2 * most for count in got.values())
