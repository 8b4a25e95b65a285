"""The named blocks of SQL: well formed, explained, and each of use."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from storage.queries import STATEMENTS, parse_blocks, read_sources, sql

STORAGE = Path(__file__).parents[2] / "storage"


def test_every_block_is_named_in_the_code_that_runs_it() -> None:
    named = {
        node.value
        for path in STORAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(STATEMENTS) - named == set()


def test_every_block_says_in_a_comment_why_it_is_as_it_is() -> None:
    silent = [
        f"{source}: {match[1]}"
        for source, text in read_sources()
        for match in re.finditer(r"^-- name: (\w+)\n(?!-- )", text, re.MULTILINE)
    ]
    assert silent == []


def test_a_statement_comes_without_its_comments() -> None:
    assert sql("lock_upkeep") == "SELECT pg_advisory_xact_lock(7264830913);"


def test_two_blocks_of_one_name_are_refused() -> None:
    block = "-- name: same\nSELECT 1;\n"
    with pytest.raises(ValueError, match="two blocks named same"):
        parse_blocks([("a.sql", block), ("b.sql", block)])


def test_a_part_stands_where_it_is_used_and_is_no_statement() -> None:
    text = "-- part: inner\n-- why\n1\n-- part: outer\n(\n-- use: inner\n)\n"
    whole = parse_blocks([("a.sql", text + "-- name: whole\nSELECT\n-- use: outer\n;\n")])
    assert whole == {"whole": "SELECT\n(\n1\n)\n;"}


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no part named lost"):
        parse_blocks([("a.sql", "-- name: whole\nSELECT\n-- use: lost\n;\n")])


@pytest.mark.parametrize("text", ["SELECT 1;\n", "-- name: empty\n-- only words\n"])
def test_sql_without_a_name_and_names_without_sql_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"before the first|no statement"):
        parse_blocks([("a.sql", text)])
