"""Gaps between the receipts of a device's day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.device_day import Gap, HeardBucket, find_gaps

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEP = timedelta(minutes=5)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def heard(first: float, last: float) -> HeardBucket:
    return HeardBucket(int(first // 5), 2, at(first), at(last))


def test_a_gap_begins_and_ends_with_a_receipt() -> None:
    gaps = find_gaps([heard(1, 4), heard(21, 24)], None, at(25), STEP)
    assert gaps == [Gap(at(4), at(21))]


def test_the_last_gap_goes_on() -> None:
    assert find_gaps([heard(1, 4)], None, at(30), STEP) == [Gap(at(4), None)]


def test_a_gap_may_have_begun_before_the_span() -> None:
    assert find_gaps([heard(20, 24)], at(-60), at(25), STEP) == [Gap(at(-60), at(20))]


def test_nothing_is_said_before_the_first_receipt_ever() -> None:
    assert find_gaps([heard(20, 24)], None, at(25), STEP) == []
    assert find_gaps([], None, at(25), STEP) == []


def test_a_span_without_receipts_is_one_gap() -> None:
    assert find_gaps([], at(-3), at(25), STEP) == [Gap(at(-3), None)]


def test_pauses_of_a_bucket_or_less_are_no_gaps() -> None:
    assert find_gaps([heard(0, 4), heard(9, 9.5)], None, at(10), STEP) == []
