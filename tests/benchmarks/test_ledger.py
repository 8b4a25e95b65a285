"""The benchmark of the ledger refuses figures of a run that lost, doubled or spread its counts."""

from __future__ import annotations

import pytest

from benchmarks.ledger import Load, WatchedCounts, find_faults

LOAD = Load(buses=10, seconds=125)


def _counts(rows: int) -> WatchedCounts:
    counts = WatchedCounts()
    counts.rows.update({0: 10, 60: 10, 120: rows - 20})
    counts.told = rows
    return counts


def test_a_good_run_has_no_fault() -> None:
    assert find_faults(LOAD, _counts(30), (10, 1250, 10, 20)) == []


@pytest.mark.parametrize(
    ("rows", "found", "word"),
    [
        (30, (10, 1249, 10, 20), "1249 are counted"),
        (30, (11, 1250, 11, 19), "have 11 rows"),
        (30, (10, 1250, 10, 21), "31 rows were written"),
        (31, (10, 1250, 10, 21), "31 rows in 125 s, at most 30"),
    ],
)
def test_each_fault_is_named(rows: int, found: tuple[int, ...], word: str) -> None:
    (fault,) = find_faults(LOAD, _counts(rows), found)
    assert word in fault
