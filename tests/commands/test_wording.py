"""Sentences on a terminal: numbers with their nouns, and lines broken between words."""

from __future__ import annotations

import pytest

from lastheard.wording import counted, wrap_lines

ADDRESS = f"http://{'a' * 90}.example/rfms"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 devices"), (1, "1 device"), (2, "2 devices"), (21, "21 devices")]
)
def test_a_number_stands_with_its_noun(count: int, said: str) -> None:
    assert counted(count, "device") == said


@pytest.mark.parametrize("width", [40, 80, 160])
def test_lines_are_broken_between_words(width: int) -> None:
    text = f"first\n\n-> {'Check the half-open base_url. ' * 9}"
    wrapped = wrap_lines(text, width)
    assert max(map(len, wrapped.splitlines())) <= width
    assert wrapped.split() == text.split()
    assert wrapped.startswith("first\n\n-> Check")


def test_an_address_is_never_broken() -> None:
    assert wrap_lines(f"from {ADDRESS} came", 80).split("\n") == ["from", f"  {ADDRESS}", "  came"]


def test_a_pipe_gets_lines_unbroken() -> None:
    assert wrap_lines("word " * 99, None) == "word " * 99
