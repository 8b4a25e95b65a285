"""Exceptions are found inside nested groups."""

from __future__ import annotations

import pytest

from runtime.exception_groups import first_leaf, leaves, only_leaf

A, B, C = ValueError("a"), KeyError("b"), OSError("c")
NESTED = ExceptionGroup("outer", [ExceptionGroup("inner", [A, B]), C])
ALONE = ExceptionGroup("outer", [ExceptionGroup("inner", [A])])
PAIR = ExceptionGroup("pair", [A, B])
INTERRUPT = KeyboardInterrupt()


@pytest.mark.parametrize(
    ("group", "inside"),
    [
        (ALONE, [A]),
        (NESTED, [A, B, C]),
        (BaseExceptionGroup("interrupted", [NESTED, INTERRUPT]), [A, B, C, INTERRUPT]),
    ],
)
def test_the_leaves_come_in_order(
    group: BaseExceptionGroup[BaseException], inside: list[BaseException]
) -> None:
    assert list(leaves(group)) == inside
    assert first_leaf(group) is A


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (A, A),
        (ALONE, A),
        (PAIR, PAIR),
        (ExceptionGroup("outer", [PAIR]), PAIR),
    ],
)
def test_the_only_leaf_is_found_and_several_stay_together(
    error: Exception, found: Exception
) -> None:
    assert only_leaf(error) is found
