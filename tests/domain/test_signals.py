"""The catalogue and the check of single values."""

from __future__ import annotations

import enum
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.position import HALVES
from domain.signals import CATALOGUE, MAX_TEXT_LENGTH, PLAIN_VALUES, InvalidValue, check_value


class Level(enum.IntEnum):
    HALF = 50


@pytest.mark.parametrize(
    ("signal", "value"),
    [
        ("soc_percent", 0),
        ("soc_percent", 100.0),
        ("power_kw", -150.5),
        ("charging", False),
        ("charging_status", "CHARGING_DC"),
        ("charging_status", "é" * MAX_TEXT_LENGTH),
    ],
)
def test_a_value_within_its_limits_is_taken_as_it_is(signal: str, value: Any) -> None:
    assert check_value(signal, value) == value


@pytest.mark.parametrize(
    ("signal", "value", "why"),
    [
        ("soc_percent", 100.1, "above 100 %"),
        ("soc_percent", -0.1, "below 0 %"),
        ("soc_percent", True, "not a number"),
        ("soc_percent", "88", "not a number"),
        ("soc_percent", None, "not a number"),
        ("soc_percent", math.nan, "not a finite number"),
        ("soc_percent", math.inf, "not a finite number"),
        ("soc_percent", 10**400, "above 100 %"),
        ("charging", 1, "not a boolean"),
        ("charging_status", 1, "not text"),
        ("charging_status", "x" * (MAX_TEXT_LENGTH + 1), "longer than 64 characters"),
        ("charging_status", "a\x00b", "holds a NUL character"),
        ("charging_status", "a\ud800", "holds a lone surrogate"),
        ("warp_factor", 9, "unknown signal"),
        (None, 9, "unknown signal"),
    ],
)
def test_a_value_that_cannot_stand_for_its_signal_says_why(
    signal: Any, value: Any, why: str
) -> None:
    assert check_value(signal, value) == InvalidValue(why)


@pytest.mark.parametrize(
    ("signal", "lowest", "highest"),
    [
        ("soc_percent", 0, 100),
        ("latitude_deg", -90, 90),
        ("longitude_deg", -180, 180),
        ("heading_deg", 0, 360),
    ],
)
def test_percent_and_angles_end_where_the_unit_ends(
    signal: str, lowest: float, highest: float
) -> None:
    taken = [number for number in (lowest, highest) if check_value(signal, number) == number]
    beyond = [check_value(signal, number) for number in (lowest - 0.01, highest + 0.01)]
    assert taken == [lowest, highest]
    assert all(isinstance(answer, InvalidValue) for answer in beyond)


def test_a_number_of_a_subclass_becomes_a_plain_number() -> None:
    assert type(check_value("soc_percent", Level.HALF)) is int


@given(
    signal=st.sampled_from(sorted(CATALOGUE)),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.lists(st.none()),
    ),
)
def test_the_quick_table_and_the_careful_check_agree(signal: str, value: Any) -> None:
    types, lowest, highest = PLAIN_VALUES.get(signal, ((), 0, 0))
    is_typed, limit = type(value) in types, CATALOGUE[signal].maximum
    checked = check_value(signal, value)
    if is_typed and lowest <= value <= highest:
        assert checked == value
    elif is_typed and limit is not None and highest < value <= limit:
        pass  # beside "not available" codes: the careful check alone decides
    elif CATALOGUE[signal].kind != "text" and signal not in HALVES:
        assert isinstance(checked, InvalidValue)


def test_every_entry_is_complete() -> None:
    for name, signal in CATALOGUE.items():
        assert name == signal.name
        assert signal.old_after_seconds > 0
        assert signal.description.endswith(".")
        # The unit stands in the reason of a refusal, which is ASCII.
        assert signal.unit.isascii(), f"{name}: write the unit in ASCII, as degC for °C"
        assert (signal.minimum is None) == (signal.kind != "number")
        assert signal.vss_path is None or signal.vss_path.startswith("Vehicle.")


def test_names_carry_their_unit() -> None:
    suffixes = {"%": "percent", "km/h": "kmh", "deg": "deg"}
    for signal in CATALOGUE.values():
        if signal.unit:
            assert signal.name.endswith("_" + suffixes.get(signal.unit, signal.unit.lower()))
