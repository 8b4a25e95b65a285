"""Which arriving ids look like that of a device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.health import judge_health
from domain.look_alikes import MAX_LOOK_ALIKES, LookAlikes
from tests.domain.fixtures import NOW, facts, never_heard

IDS = st.text("01aA ", max_size=5)


def find(external_id: str, arriving: list[str]) -> list[str]:
    return LookAlikes(arriving).find(external_id)


@given(IDS, st.lists(IDS, max_size=12))
def test_the_search_finds_what_a_comparison_of_each_finds(own: str, arriving: list[str]) -> None:
    """Compared one by one, nothing is left out by the index."""
    alike = [other for other in arriving if find(own, [other])]
    assert find(own, arriving) == alike[:MAX_LOOK_ALIKES]
    assert alike == [other for other in arriving if _looks_alike(own, other)]


def _looks_alike(one: str, other: str) -> bool:
    if one.strip() == other.strip():
        return False
    short, long = sorted((_plain(one), _plain(other)), key=len)
    if len(long) < 2:
        return bool(short) and short == long
    cut = [long[:place] + long[place + 1 :] for place in range(len(long))]
    replaced = len(short) == len(long) and sum(a != b for a, b in zip(short, long, strict=True)) < 2
    return short == long or short in cut or replaced


def _plain(text: str) -> str:
    return text.replace(" ", "").lower().lstrip("0")


@pytest.mark.parametrize(
    "arriving",
    [
        "testvin0000000001",  # case
        "TEST VIN 0000000001",  # spaces
        "TESTVIN0000000002",  # one character
        "TESTVIN000000001",  # one left out
        "TESTVIN00000000011",  # one more
        "00TESTVIN0000000001",  # leading zeros
        "TESTVIN000000O001",
    ],
)
def test_a_slip_of_the_keyboard_looks_alike(arriving: str) -> None:
    assert find("TESTVIN0000000001", ["other", arriving]) == [arriving]


@pytest.mark.parametrize(
    "arriving",
    ["TESTVIN0000000001", " TESTVIN0000000001 ", "TESTVIN0000000023", "TESTVIN00000000", "", "0"],
)
def test_the_same_id_and_another_one_do_not_look_alike(arriving: str) -> None:
    assert find("TESTVIN0000000001", [arriving]) == []


def test_ids_of_one_character_do_not_look_alike() -> None:
    assert find("1", ["2", ""]) == []
    assert find("7", ["007"]) == ["007"]


def test_a_few_look_alikes_are_enough() -> None:
    assert len(find("bus-10", [f"bus-1{n}" for n in range(1, 9)])) == MAX_LOOK_ALIKES


def test_a_device_never_heard_names_its_look_alikes() -> None:
    plain = never_heard(hours=2)
    unknown = (("main", "VID_0007"), ("other", "vid_0008"), ("main", "truck"))
    collector = replace(plain.collector, unknown_ids=unknown)
    silent = plain._replace(collector=collector)
    assert judge_health(silent, NOW).evidence["look_alike_ids"] == ["VID_0007"]
    heard = facts(collector=collector)
    assert judge_health(heard, NOW).evidence["look_alike_ids"] == []
