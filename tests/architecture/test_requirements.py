"""Each id that was asked for is held by tests, and docs/requirements.md says by which."""

from __future__ import annotations

import pytest

from tests import requirements
from tests.requirements import ASKED, NOT_BUILT, find_gaps, ids_of_name, without_ids

HTTP = ["tests/acceptance/test_a.py::test_a"]
BENEATH = ["tests/domain/test_a.py::test_a"]
COMPLETE = dict.fromkeys(ASKED, HTTP)


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """One id that is not built, whatever is listed now."""
    monkeypatch.setitem(requirements.NOT_BUILT, "SC-14", ("H", "it is not built"))


def test_the_page_is_what_the_tests_say() -> None:
    page = requirements.DOCUMENT.read_text(encoding="utf-8")
    assert page == requirements.document(requirements.held_by()), "run `make docs`"


def test_no_test_carries_an_id_that_nobody_asked_for() -> None:
    assert requirements.held_by().keys() <= ASKED.keys()
    assert NOT_BUILT.keys() <= ASKED.keys()


def test_every_id_is_held_over_http_or_not_built() -> None:
    assert find_gaps(requirements.held_by()) == []


def test_an_id_held_only_beneath_is_a_gap() -> None:
    (gap,) = find_gaps(COMPLETE | {"FR-004": BENEATH})
    assert gap.startswith("FR-004 has no test in tests/acceptance/ or tests/processes/: ")


@pytest.mark.usefixtures("not_built")
def test_an_id_that_has_a_test_may_not_be_called_not_built() -> None:
    assert find_gaps(COMPLETE | {"SC-14": []}) == []
    (gap,) = find_gaps(COMPLETE)
    assert gap.startswith("SC-14 has a test now (tests/acceptance/test_a.py::test_a): remove it")


@pytest.mark.parametrize(
    ("name", "ids", "rest"),
    [
        ("test_a_b", [], "test_a_b"),
        ("test_acceptance_6_and_8_rows", ["acceptance 6", "acceptance 8"], "test_rows"),
        ("test_fr_003_d_005_sc_01_a", ["FR-003", "D-005", "SC-01"], "test_a"),
        ("test_nfr_004_acceptance_8_a", ["NFR-004", "acceptance 8"], "test_a"),
        ("test_a_fr_003_b", [], "test_a_fr_003_b"),  # only at the beginning
        ("test_acceptance_1_and_a", ["acceptance 1"], "test_and_a"),
    ],
)
def test_ids_are_found_at_the_beginning_of_a_name(name: str, ids: list[str], rest: str) -> None:
    assert ids_of_name(name) == ids
    assert without_ids(name) == rest


@pytest.mark.usefixtures("not_built")
def test_the_page_tells_both_columns_and_what_is_not_built() -> None:
    page = requirements.document({"FR-001": HTTP + BENEATH})
    rows = dict(line[2:].split(" | ", 1) for line in page.splitlines() if line.startswith("| "))
    assert rows["FR-001"].endswith(
        "| `acceptance/test_a.py::test_a` | `domain/test_a.py::test_a` |"
    )
    assert "| H: it is not built |" in rows["SC-14"]
