"""The order of the sides, the ratios of several rounds, and the judgement of a comparison."""

from __future__ import annotations

import pytest

from benchmarks.compare import find_worse
from benchmarks.rounds import in_turn, ratios


def test_both_sides_go_first_equally_often() -> None:
    assert [in_turn(number, "a", "b")[0] for number in range(8)] == ["a", "b"] * 4
    assert all(sorted(in_turn(number, "a", "b")) == ["a", "b"] for number in range(8))


def test_ratios_are_taken_within_each_round() -> None:
    assert ratios([1, 20, 4], [1, 10, 1]) == (2, 1, 4)


def test_a_ratio_needs_a_partner_for_each_round() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_a_comparison_judges_only_with_a_limit() -> None:
    medians = {"core time": 1.08, "health": 0.9}
    assert find_worse(medians, None) == []
    assert find_worse(medians, 10) == []
    assert find_worse(medians, 5) == ["worse: core time by 8.0%, allowed 5%"]
