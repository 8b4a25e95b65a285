"""Named parameters: which text is a name, and what a call must give."""

from __future__ import annotations

import pytest

from storage.parameters import number_parameters
from storage.queries import PARAMETERS, bind, bound, sql


@pytest.mark.parametrize(
    ("statement", "numbered", "names"),
    [
        ("SELECT :b, :a", "SELECT $1, $2", ("b", "a")),
        ("SELECT :a + :a, :b", "SELECT $1 + $1, $2", ("a", "b")),
        ("SELECT :at::timestamptz, x::text[]", "SELECT $1::timestamptz, x::text[]", ("at",)),
        ("SELECT ':a', 'it''s :a', :a", "SELECT ':a', 'it''s :a', $1", ("a",)),
        ('SELECT "a:b" FROM t WHERE c = :b', 'SELECT "a:b" FROM t WHERE c = $1', ("b",)),
        ("SELECT :a -- at :b\n, :c", "SELECT $1 -- at :b\n, $2", ("a", "c")),
        ("SELECT :a /* at :b\n:c */, :d", "SELECT $1 /* at :b\n:c */, $2", ("a", "d")),
        ("UPDATE t SET workspace_id = :workspace_id2", "UPDATE t SET workspace_id = $1", None),
        ("SELECT $1, $2, $3, $4", "SELECT $1, $2, $3, $4", ()),
        ("SELECT 1", "SELECT 1", ()),
    ],
)
def test_names_become_numbers_in_their_order(
    statement: str, numbered: str, names: tuple[str, ...] | None
) -> None:
    text, parameters = number_parameters("it", statement)
    assert text == numbered
    assert parameters.names == (("workspace_id2",) if names is None else names)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT :a, $1", "both named and numbered"),
        ("SELECT $1, $2, $3, $4, $5", "5 parameters without names"),
    ],
)
def test_a_statement_with_unclear_parameters_is_refused(statement: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"block it has {reason}"):
        number_parameters("it", statement)


def test_values_are_put_in_the_order_of_the_numbers() -> None:
    _, parameters = number_parameters("it", "SELECT :b, :a, :b")
    assert parameters.bind({"a": 1, "b": 2}) == (2, 1)
    _, one = number_parameters("it", "SELECT :a")
    assert one.bind({"a": 1}) == (1,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 1}, r"it: missing \['b'\], unknown \[\]"),
        ({"a": 1, "b": 2, "c": 3}, r"it: missing \[\], unknown \['c'\]"),
    ],
)
def test_a_missing_or_unknown_name_is_an_error(values: dict[str, int], message: str) -> None:
    _, parameters = number_parameters("it", "SELECT :a, :b")
    with pytest.raises(TypeError, match=message):
        parameters.bind(values)


def test_a_call_by_name_gives_the_statement_and_its_arguments() -> None:
    names = PARAMETERS["create_key"].names
    values = {name: number for number, name in enumerate(names)}
    assert bind("create_key", **values) == tuple(range(len(names)))
    assert bound("create_key", **values) == (sql("create_key"), *range(len(names)))
