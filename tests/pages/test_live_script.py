"""The script of live pages: its words are those of the pages, and nothing becomes markup."""

from __future__ import annotations

import re

import pytest

from api.pages.assets import read_assets
from api.pages.words import STATE_NAMES, STATES

SCRIPTS = ("live.js", "live_rows.js", "live_regions.js")


def test_states_have_the_words_and_the_order_of_the_pages() -> None:
    text = read_assets()["live_rows.js"].decode()
    table = text[text.index("const STATES") : text.index("];")]
    pairs = re.findall(r'\["([a-z-]+)", "([a-z ]+)"\]', table)
    assert pairs == [(state.value, STATE_NAMES[state]) for state in STATES]


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_from_outside_becomes_markup(name: str) -> None:
    text = read_assets()[name].decode()
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.on[a-z]+ ="
    assert re.findall(ways, text) == []
