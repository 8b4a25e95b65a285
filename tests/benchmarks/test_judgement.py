"""The order of the sides, the ratios of several rounds, and their judgement by the aims."""

from __future__ import annotations

import pytest

from benchmarks import aims
from benchmarks.aims import Aim
from benchmarks.compare import find_worse
from benchmarks.quick import report
from benchmarks.rounds import Cost, Round, in_turn, ratios


def test_both_sides_go_first_equally_often() -> None:
    assert [in_turn(number, "a", "b")[0] for number in range(8)] == ["a", "b"] * 4
    assert all(sorted(in_turn(number, "a", "b")) == ["a", "b"] for number in range(8))


def test_ratios_are_taken_within_each_round() -> None:
    assert ratios([1, 20, 4], [1, 10, 1]) == (2, 1, 4)


def test_a_ratio_needs_a_partner_for_each_round() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


@pytest.mark.parametrize("found", [0.49, float("nan")])
def test_a_figure_below_its_aim_misses_it(found: float) -> None:
    assert Aim("speed", at_least=0.5).miss(found) is not None


@pytest.mark.parametrize("found", [2.1, float("nan")])
def test_a_figure_above_its_aim_misses_it(found: float) -> None:
    assert Aim("cost", at_most=2).miss(found) is not None


def test_a_figure_on_its_aim_meets_it() -> None:
    assert Aim("speed", at_least=0.5).miss(0.5) is None
    assert Aim("cost", at_most=2).miss(2) is None


@pytest.mark.parametrize("aim", [value for value in vars(aims).values() if isinstance(value, Aim)])
def test_every_aim_can_be_missed(aim: Aim) -> None:
    assert aim.miss(-1 if aim.at_least is not None else 1e9) is not None


def rounds_of(*rates: float) -> list[Round]:
    return [Round(Cost(rate, 10, 10), Cost(100, 5, 5)) for rate in rates]


def test_the_median_round_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    rate, cores = Aim("rate", at_least=0.5), Aim("cores", at_most=2)
    assert report("it", rounds_of(10, 60, 70), rate, cores) == []
    assert report("it", rounds_of(10, 40, 70), rate, cores) == [
        "aim: rate is 0.4, aimed at at least 0.5"
    ]
    assert report("it", rounds_of(60), rate, Aim("cores", at_most=1.9)) != []
    assert "0.60 of the reference's rate" in capsys.readouterr().out


def test_a_comparison_judges_only_with_a_limit() -> None:
    medians = {"core time": 1.08, "health": 0.9}
    assert find_worse(medians, None) == []
    assert find_worse(medians, 10) == []
    assert find_worse(medians, 5) == ["worse: core time by 8.0%, allowed 5%"]
