"""Counts of refusals between the unit that counts them and the unit that writes them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from domain.refusals import MAX_DUE, RefusalCount, RefusalCounts, RefusalKey, RefusalPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def key(device_id: str = "bus-1", hour: datetime = NOON) -> RefusalKey:
    return RefusalKey(
        "harbour", hour, "poll", "live", device_id, None, "rejected", "invalid", "soc_percent"
    )


def count(occurrences: int, seconds: float, sample: bytes | None = None) -> RefusalCount:
    at = NOON + timedelta(seconds=seconds)
    return RefusalCount(occurrences, at, f"trace-{seconds}", "above 100", sample)


def unit(
    counts: RefusalCounts,
    seconds: float,
    refused: Mapping[RefusalKey, RefusalCount],
    *,
    locked: frozenset[RefusalKey] = frozenset(),
) -> dict[RefusalKey, RefusalCount]:
    """Commit a unit at that second; return the rows that it wrote."""
    plan = counts.plan(refused, NOON + timedelta(seconds=seconds))
    counts.stage(plan, plan.rows.keys() - locked)
    counts.confirm()
    return {row: counted for row, counted in plan.rows.items() if row not in locked}


def refuse(
    counts: RefusalCounts, seconds: float, device_id: str = "bus-1"
) -> dict[RefusalKey, RefusalCount]:
    return unit(counts, seconds, {key(device_id): count(1, seconds)})


def test_the_first_refusal_of_an_hour_is_written_at_once() -> None:
    first = count(1, 0, b"{}")
    assert unit(RefusalCounts(), 0, {key(): first}) == {key(): first}


def test_later_refusals_are_written_once_a_minute() -> None:
    counts = RefusalCounts()
    written = {second: rows for second in range(181) if (rows := refuse(counts, second))}
    assert {second: rows[key()].occurrences for second, rows in written.items()} == {
        0: 1,
        60: 60,
        120: 60,
        180: 60,
    }
    assert written[60][key()].last_at == NOON + timedelta(seconds=60)
    assert counts.waiting == 0


def test_another_hour_is_another_key_and_written_at_once() -> None:
    counts = RefusalCounts()
    refuse(counts, 3590)
    later = key(hour=NOON + timedelta(hours=1))
    assert unit(counts, 3600, {later: count(1, 3600)}) == {later: count(1, 3600)}


def test_what_waits_is_written_with_any_later_unit() -> None:
    counts = RefusalCounts()
    refuse(counts, 0)
    refuse(counts, 1)
    assert unit(counts, 59, {}) == {}
    assert unit(counts, 60, {}) == {key(): count(1, 1)}
    assert unit(counts, 61, {}) == {}


def test_a_unit_that_is_not_committed_changes_no_count() -> None:
    counts = RefusalCounts()
    refuse(counts, 0)
    for _attempt in range(3):
        plan = counts.plan({key(): count(1, 1)}, NOON + timedelta(seconds=1))
        counts.stage(plan, set())
        counts.unstage()
    counts.confirm()
    assert counts.waiting == 0


def test_a_row_that_is_locked_is_counted_up_a_minute_later() -> None:
    counts = RefusalCounts()
    assert unit(counts, 0, {key(): count(2, 0)}, locked=frozenset([key()])) == {}
    assert refuse(counts, 30) == {}
    assert unit(counts, 60, {}) == {key(): count(2, 0).plus(1, count(1, 30).last_at)}


def test_updates_that_were_fenced_are_written_with_their_unit() -> None:
    counts, fenced = RefusalCounts(), key()._replace(reason="fenced", signal=None)
    for second in range(3):
        assert unit(counts, second, {fenced: count(1, second)}) == {fenced: count(1, second)}
    assert counts.waiting == 0


def test_while_poison_is_searched_only_own_refusals_are_written() -> None:
    counts = RefusalCounts()
    refuse(counts, 0, "bus-1")
    refuse(counts, 1, "bus-1")
    counts.writes_due = False
    assert refuse(counts, 70, "bus-2") == {key("bus-2"): count(1, 70)}
    counts.writes_due = True
    assert unit(counts, 71, {}) == {key("bus-1"): count(1, 1)}


def test_a_unit_writes_a_bounded_number_of_waiting_rows() -> None:
    counts = RefusalCounts()
    many = {key(f"bus-{number}"): count(1, 0) for number in range(MAX_DUE + 7)}
    unit(counts, 0, many)
    unit(counts, 1, many)
    assert len(unit(counts, 60, {})) == MAX_DUE
    assert counts.has_more_due
    assert len(unit(counts, 60, {})) == 7
    assert not counts.has_more_due


def test_a_full_table_writes_further_keys_with_their_units() -> None:
    counts = RefusalCounts(max_keys=2)
    for bus in ("bus-1", "bus-2", "bus-3"):
        refuse(counts, 0, bus)
    assert counts.statistics().keys == 2
    assert refuse(counts, 1, "bus-1") == {}
    assert refuse(counts, 1, "bus-3") == {key("bus-3"): count(1, 1)}


def test_keys_without_refusals_are_forgotten_after_a_minute() -> None:
    counts = RefusalCounts()
    refuse(counts, 0, "bus-1")
    refuse(counts, 61, "bus-2")
    assert counts.statistics().keys == 1


def test_at_the_end_everything_that_waits_is_written() -> None:
    counts = RefusalCounts()
    refuse(counts, 0)
    refuse(counts, 1)
    counts.writes_all = True
    assert unit(counts, 2, {}) == {key(): count(1, 1)}
    assert counts.waiting == 0


def test_what_is_given_up_is_counted_as_lost() -> None:
    counts = RefusalCounts()
    refuse(counts, 0)
    refuse(counts, 1)
    assert counts.give_up_waiting() == 1
    assert (counts.waiting, counts.statistics().lost) == (0, 1)


UNITS = st.lists(
    st.tuples(
        st.floats(0, 90),  # seconds since the unit before
        st.lists(st.integers(0, 4)),  # a bus for each refusal
        st.sampled_from(["committed", "tried again", "locked"]),
    ),
    max_size=40,
)


@given(UNITS)
def test_no_history_loses_a_refusal_or_writes_it_twice(
    units: list[tuple[float, list[int], str]],
) -> None:
    counts, now, counted = RefusalCounts(max_keys=3), 0.0, 0
    written: Counter[RefusalKey] = Counter()
    for pause, buses, fate in units:
        now += pause
        counted += len(buses)
        refused = {key(f"bus-{bus}"): count(n, now) for bus, n in Counter(buses).items()}
        if fate == "tried again":
            counts.stage(counts.plan(refused, NOON + timedelta(seconds=now)), set())
            counts.unstage()
        locked = frozenset(refused) if fate == "locked" else frozenset()
        rows = unit(counts, now, refused, locked=locked)
        written.update({row: refusal.occurrences for row, refusal in rows.items()})
    assert written.total() + counts.waiting + counts.statistics().lost == counted
    assert counts.statistics().keys <= 3


@given(st.lists(st.tuples(st.floats(0, 90), st.integers(0, 4)), max_size=60))
def test_no_key_is_written_twice_within_a_minute(units: list[tuple[float, int]]) -> None:
    counts, now = RefusalCounts(), 0.0
    last: dict[RefusalKey, float] = {}
    for pause, bus in units:
        now += pause
        for row in refuse(counts, now, f"bus-{bus}"):
            assert now - last.get(row, -60.0) >= 59.999
            last[row] = now
    assert counts.statistics().lost == 0


# --- two writers whose units are in flight together


def test_counts_that_one_writer_writes_are_left_alone_by_another() -> None:
    one = RefusalCounts()
    other = RefusalCounts(beside=one)
    refuse(one, 0)
    refuse(one, 1)
    due = NOON + timedelta(seconds=61)
    plan = one.plan({}, due)
    assert (plan.rows[key()].occurrences, other.plan({}, due).rows) == (1, {})
    one.unstage()
    assert other.plan({}, due).rows == plan.rows


def test_a_refusal_beside_the_count_in_flight_is_kept() -> None:
    one = RefusalCounts()
    other = RefusalCounts(beside=one)
    refuse(one, 0)
    refuse(one, 1)
    plan = one.plan({}, NOON + timedelta(seconds=61))
    one.stage(plan, set(plan.rows))
    assert refuse(other, 61) == {}
    one.confirm()
    assert (one.waiting, one.statistics().written) == (1, 2)
    assert refuse(other, 122)[key()].occurrences == 2


TWO_WRITERS = st.lists(
    st.tuples(
        st.floats(0, 90),
        st.integers(0, 1),  # the writer that goes on: it plans, or ends what it planned
        st.lists(st.integers(0, 3)),  # a bus of this writer for each refusal
        st.sampled_from(["committed", "failed", "locked"]),
    ),
    max_size=60,
)


@given(TWO_WRITERS)
def test_two_writers_lose_no_refusal_and_write_none_twice(
    steps: list[tuple[float, int, list[int], str]],
) -> None:
    one = RefusalCounts(max_keys=5)
    writers, now, counted = (one, RefusalCounts(beside=one)), 0.0, 0
    written: Counter[RefusalKey] = Counter()
    plans: dict[int, RefusalPlan] = {}
    for pause, number, buses, fate in [*steps, (0, 0, [], "failed"), (0, 1, [], "failed")]:
        now += pause
        counts, plan = writers[number], plans.pop(number, None)
        if plan is None:
            refused = {
                key(f"bus-{number}-{bus}"): count(n, now) for bus, n in Counter(buses).items()
            }
            plans[number] = counts.plan(refused, NOON + timedelta(seconds=now))
            counts.stage(plans[number], plans[number].rows.keys())
        elif fate == "failed":
            counts.unstage()
        else:
            rows = plan.rows if fate == "committed" else {}
            counts.stage(plan, rows.keys())
            counts.confirm()
            written.update({row: refusal.occurrences for row, refusal in rows.items()})
            own = [*plan.rows.items(), *plan.kept.items()]
            counted += sum(refusal.occurrences for _, refusal in own) - sum(plan.waited.values())
    assert written.total() + one.waiting + one.statistics().lost == counted
