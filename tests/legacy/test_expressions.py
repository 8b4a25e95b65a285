"""Expressions: what is refused when it is configured, and what no answer can make them cost."""

from __future__ import annotations

import time
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legacy.expressions import (
    MAX_DEPTH,
    MAX_LENGTH,
    Budget,
    EvaluationFailed,
    Expression,
    ExpressionInvalid,
)

STEPS = 10_000
SECONDS = 2.0  # for what would take for ever, on a crowded machine

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4)
    ),
    max_leaves=20,
)


def evaluate(text: str, value: Any, steps: int = STEPS) -> Any:
    return Expression(text).evaluate(value, Budget(steps))


def fault_of(text: str, value: Any) -> str:
    """Return why the expression cannot be evaluated; empty if it can."""
    try:
        evaluate(text, value)
    except EvaluationFailed as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("a.", "breaks off at its end"),
        ("a..b", "character 3: '.' is not expected here"),
        ("a[?b=='x]", "character 7"),
        ("a b", "character 3: 'b' is not expected here"),
        ("a.#b", "character 3"),
        ("lenght(a)", "character 1: there is no function lenght(); there are abs, avg"),
        ("a | length(a, b)", "character 5: length() takes 1 arguments, not 2"),
        ("not_null()", "character 1: not_null() takes at least 1 arguments, not 0"),
        ("a" * (MAX_LENGTH + 1), f"{MAX_LENGTH + 1} characters; at most {MAX_LENGTH}"),
        ("!" * 450 + "a", "nested"),
        ("[" * (MAX_DEPTH + 1) + "a" + "]" * (MAX_DEPTH + 1), "nested"),
    ],
)
def test_a_mistake_names_the_place(text: str, part: str) -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        Expression(text)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("|".join(["[@,@]"] * 35) + "|to_string(@)", id="doubled, then written"),
        pytest.param("|".join(["[@,@][]"] * 12), id="doubled and flattened"),
        pytest.param("[" + ",".join(["@"] * 100) + "][]|" + "[@,@,@,@][]" * 3, id="copied"),
        pytest.param("|".join(["[@,@]"] * 30) + f"|[@==@,{'@,' * 20}@]", id="compared"),
        pytest.param(
            f"[{'|'.join(['[@,@]'] * 30)},{'|'.join(['[@,@]'] * 30)}]|[0]==[1]", id="two compared"
        ),
        pytest.param("|".join(["join('', [@,@])"] * 30), id="a text doubled"),
        pytest.param("join(to_string(@), keys(@))", id="joined by a long text"),
        pytest.param("[*.*.*.*, *.*.*.*][].[*.*, *.*][][]", id="wildcards of wildcards"),
        pytest.param("contains(" + "|".join(["[@,@]"] * 35) + ", @)", id="searched"),
    ],
)
def test_no_expression_takes_long(text: str) -> None:
    """It ends, or it fails, within its steps. The values are what an answer could hold."""
    square = {str(a): {str(b): {"c": {"d": [1, 2]}} for b in range(40)} for a in range(40)}
    for value in ("x" * 2000, square, {"n" * 1000 + str(n): n for n in range(3000)}):
        began = time.perf_counter()
        assert "x" * 10 not in fault_of(text, value)
        assert time.perf_counter() - began < SECONDS


def test_steps_come_back_with_the_next_item() -> None:
    budget, expression = Budget(50), Expression("a[*].b")
    item = {"a": [{"b": 1}] * 10}
    for _ in range(5):
        budget.renew()
        assert expression.evaluate(item, budget) == [1] * 10
    with pytest.raises(EvaluationFailed, match="too many steps"):
        [expression.evaluate(item, budget) for _ in range(5)]


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("a.b", {"a": {"b": 0}}, 0),
        ("a.b", {"a": 1}, None),
        ("a == `1`", {"a": 1}, True),
        ("a == `true`", {"a": 1}, False),
        ("a > `2`", {"a": 3}, True),
        ("a > `2`", {"a": "3"}, None),
        ("a < 'b'", {"a": "a"}, True),
        ("to_number(a)", {"a": "12.5"}, 12.5),
        ("[a, b][]", {"a": [1, 2], "b": 3}, [1, 2, 3]),
        ("a[1:]", {"a": [1, 2, 3]}, [2, 3]),
        ("a[?b == 'x'].c | [0]", {"a": [{"b": "x", "c": 5}]}, 5),
        ("not_null(a, b)", {"b": 2}, 2),
        ("'viriciti'", {}, "viriciti"),
        ("*.a[]", {"x": {"a": [1]}, "y": {"a": [2]}}, [1, 2]),
    ],
)
def test_expressions_mean_what_jmespath_says(text: str, value: Any, found: Any) -> None:
    assert evaluate(text, value) == found


def test_a_wrong_argument_is_described_without_it() -> None:
    with pytest.raises(EvaluationFailed) as caught:
        evaluate("abs(a)", {"a": "s3cret-token"})
    assert str(caught.value) == "abs() takes number, and was given string"


@given(
    ANY_JSON,
    st.sampled_from(
        [
            "a.b.c",
            "a[*].b[?c > d]",
            "sort_by(a, &b)[0]",
            "max(a)",
            "sum(*)",
            "join(a, b)",
            "to_number(a) < b",
            "merge(a, b)",
            "a[::0]",
            "a[99999999999999999999]",
            "ceil(a)",
            "contains(a, b)",
            "avg(a) == b",
            "keys(@)",
            "*.* | [] | [0]",
        ]
    ),
)
def test_any_answer_gives_a_value_or_a_fault(value: Any, text: str) -> None:
    assert fault_of(text, value) is not None


@given(ANY_JSON, st.sampled_from(["a", "a.b", "a.b.c", '"a".b', "@.a.b", "(a).b", "a | b"]))
def test_names_in_a_row_mean_what_the_library_says(value: Any, text: str) -> None:
    assert evaluate(text, value) == jmespath.search(text, value)


def test_an_answer_nested_deep_is_no_crash() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    for text in ("to_string(@)", "@ == [[@]]", "[@, @][][][]", "contains(@, @)"):
        assert fault_of(text, deep) is not None
