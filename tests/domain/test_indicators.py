"""The rules of indicators: buckets, percentiles, burn rates, and bags that can be added up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.indicators import (
    BOUNDS,
    HOUR,
    NO_COUNTS,
    Counts,
    CycleFacts,
    DeviceCounts,
    HourPart,
    Refused,
    StreamEdge,
    bucket_of,
    count_accepted,
    count_at_end,
    count_cycles,
    count_lag,
    count_refused,
    count_stream,
    find_burn_rate,
    find_percentile,
    find_share,
    list_refused,
    pick,
    split_by_hours,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECONDS = st.floats(0.001, 9e6) | st.sampled_from(BOUNDS[:-1])
MOMENTS = st.integers(0, 4 * 60).map(lambda minutes: NOON + timedelta(minutes=minutes))


def cycle(minutes: float, outcome: str, **changes: object) -> CycleFacts:
    slot = NOON + timedelta(minutes=minutes)
    plain = CycleFacts(slot, "schedule", outcome, slot, slot + timedelta(seconds=20), 4, 3, 2, {})
    return plain._replace(**changes)  # type: ignore[arg-type]


def test_buckets_are_at_most_16_percent_wide() -> None:
    assert all(1.0 < upper / lower < 1.16 for lower, upper in pairwise(BOUNDS))
    assert {300.0, 360.0, 3600.0} < set(BOUNDS)


@given(st.lists(SECONDS, min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_percentile_is_at_most_16_percent_above_the_true_one(
    values: list[float], share: float
) -> None:
    true = sorted(values)[ceil(round(share * len(values), 9)) - 1]
    told = find_percentile(Counter(map(bucket_of, values)), share)
    assert told is not None
    assert true <= told <= true * 1.1539


def test_of_nothing_there_is_no_share_percentile_or_burn_rate() -> None:
    assert find_share(0, 0) is None
    assert find_percentile({}, 0.5) is None
    assert find_burn_rate(0, 0) is None


@pytest.mark.parametrize(
    ("fresh", "active", "rate"), [(100, 100, 0.0), (95, 100, 1.0), (90, 100, 2.0), (0, 3, 20.0)]
)
def test_a_burn_rate_is_1_at_the_objective(fresh: int, active: int, rate: float) -> None:
    assert find_burn_rate(fresh, active) == rate


@given(MOMENTS, MOMENTS)
def test_spans_fill_the_time_and_none_crosses_an_hour(first: datetime, second: datetime) -> None:
    begins_at, ends_at = min(first, second), max(first, second)
    spans = split_by_hours(begins_at, ends_at)
    assert (
        sum((span.ends_at - span.begins_at for span in spans), timedelta()) == ends_at - begins_at
    )
    assert all(span.hour <= span.begins_at < span.ends_at <= span.hour + HOUR for span in spans)
    assert all(before.ends_at == after.begins_at for before, after in pairwise(spans))


@given(st.lists(st.tuples(st.sampled_from("ab"), MOMENTS, st.booleans()), max_size=12))
def test_fr_009_uptime_of_parts_adds_up_to_that_of_the_whole(
    drawn: list[tuple[str, datetime, bool]],
) -> None:
    """And equals what a count minute by minute finds."""
    edges = [StreamEdge(*one) for one in sorted(drawn, key=lambda one: one[1])]
    whole = HourPart(NOON, NOON + 4 * HOUR)
    parts: Counts = Counter()
    for span in split_by_hours(*whole):
        parts.update(count_stream(edges, span))
    assert +parts == +count_stream(edges, whole)
    for name in {edge.provider_id for edge in edges}:
        own = [edge for edge in edges if edge.provider_id == name]
        states = []
        for minute in range(4 * 60):
            before = [edge.is_open for edge in own if edge.at <= NOON + timedelta(minutes=minute)]
            states.append(before[-1] if before else None)
        assert parts[f"stream_open_ms {name}"] == 60_000 * states.count(True)
        assert parts[f"stream_known_ms {name}"] == 60_000 * (len(states) - states.count(None))


def test_a_stream_holds_its_state_from_before_the_span() -> None:
    edges = [StreamEdge("live", NOON - timedelta(days=9), is_open=True)]
    assert +count_stream(edges, HourPart(NOON, NOON + HOUR)) == {
        "stream_open_ms live": 3_600_000,
        "stream_known_ms live": 3_600_000,
    }


def test_acceptance_11_a_slot_is_good_if_one_attempt_was_completed() -> None:
    counts = count_cycles(
        [
            cycle(0, "abandoned"),
            cycle(0, "completed"),
            cycle(5, "failed"),
            cycle(10, "skipped"),
            cycle(15, "missed", started_at=None, ended_at=None),
            cycle(20, "completed", trigger="manual"),
            cycle(25, "running", ended_at=None, active_devices=None),
        ]
    )
    assert (counts["good_slots"], counts["slots"]) == (1, 3)
    assert pick(counts, "cycle") == {
        "abandoned": 1,
        "completed": 2,
        "failed": 1,
        "skipped": 1,
        "missed": 1,
    }
    assert sum(pick(counts, "duration").values()) == 3  # two completed and a failed one
    assert (counts["samples"], counts["active"], counts["fresh"]) == (6, 24, 18)


def test_a_cycle_of_before_without_counts_is_no_sample() -> None:
    counts = count_cycles([cycle(0, "completed", active_devices=None)])
    assert (counts["samples"], counts["active"], counts["slots"]) == (0, 0, 1)


@pytest.mark.parametrize(("late", "counted"), [(3600, DeviceCounts(4, 3, 2)), (3601, NO_COUNTS)])
def test_devices_are_not_counted_long_after_the_slot(late: float, counted: object) -> None:
    assert count_at_end(NOON, NOON + timedelta(seconds=late), 4, 3, 2) == counted


def test_refusals_come_out_most_first_with_their_names() -> None:
    found = [
        Refused("stale", None, None, 9),
        Refused("rejected", "invalid", "soc_percent", 9),
        Refused("rejected", "malformed", None, 10),
    ]
    counts: Counts = sum(map(count_refused, found), Counter())
    assert list(list_refused(counts)) == [found[2], found[1], found[0]]


def test_each_accepted_update_is_counted_once() -> None:
    counts = count_lag("observed_committed", 3, 5) + count_lag("observed_received", 2, 5)
    assert count_accepted(counts) == 5
