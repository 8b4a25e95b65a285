"""Which external ids are the same, and which only look alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.health import judge_health
from domain.identity import MAX_LOOK_ALIKES, external_key, find_look_alikes
from tests.domain.fixtures import NOW, facts, never_heard


@pytest.mark.parametrize(
    ("one", "other", "is_vin", "same"),
    [
        (" X1", "X1", False, True),
        ("X1\u00a0", "X1", False, True),
        ("x1", "X1", False, False),
        ("x1", "X1 ", True, True),
        ("é", "É", True, False),  # a VIN is ASCII; PostgreSQL's upper() must agree
        ("X 1", "X1", True, False),
    ],
)
def test_ids_are_compared_by_their_keys(one: str, other: str, is_vin: bool, same: bool) -> None:
    assert (external_key(one, is_vin=is_vin) == external_key(other, is_vin=is_vin)) == same


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
    assert find_look_alikes("TESTVIN0000000001", ["other", arriving]) == (arriving,)


@pytest.mark.parametrize(
    "arriving",
    ["TESTVIN0000000001", " TESTVIN0000000001 ", "TESTVIN0000000023", "TESTVIN00000000", "", "0"],
)
def test_the_same_id_and_another_one_do_not_look_alike(arriving: str) -> None:
    assert find_look_alikes("TESTVIN0000000001", [arriving]) == ()


def test_ids_of_one_character_do_not_look_alike() -> None:
    assert find_look_alikes("1", ["2", ""]) == ()
    assert find_look_alikes("7", ["007"]) == ("007",)


def test_a_few_look_alikes_are_enough() -> None:
    assert len(find_look_alikes("bus-10", [f"bus-1{n}" for n in range(1, 9)])) == MAX_LOOK_ALIKES


def test_a_device_never_heard_names_its_look_alikes() -> None:
    plain = never_heard(hours=2)
    unknown = (("main", "VID_0007"), ("other", "vid_0008"), ("main", "truck"))
    collector = replace(plain.collector, unknown_ids=unknown)
    silent = plain._replace(collector=collector)
    assert judge_health(silent, NOW).evidence["look_alike_ids"] == ["VID_0007"]
    heard = facts(collector=collector)
    assert judge_health(heard, NOW).evidence["look_alike_ids"] == []
