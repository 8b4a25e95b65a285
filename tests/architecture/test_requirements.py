"""docs/requirements.md says which tests hold which id, and is made from the tests."""

from __future__ import annotations

from tests import requirements


def test_the_page_is_what_the_tests_say() -> None:
    page = requirements.DOCUMENT.read_text(encoding="utf-8")
    assert page == requirements.document(requirements.held_by()), "run `make docs`"


def test_no_test_carries_an_id_that_nobody_asked_for() -> None:
    assert requirements.held_by().keys() <= requirements.ASKED.keys()


def test_what_is_restated_was_asked_for() -> None:
    restated = {each for others in requirements.RESTATED.values() for each in others}
    assert restated <= requirements.ASKED.keys()


def test_ids_are_found_in_names_and_in_text() -> None:
    assert requirements.ids_of_name("test_acceptance_6_and_8_every_row") == {
        "acceptance 6",
        "acceptance 8",
    }
    assert requirements.ids_of_name("test_acceptance_8_nfr_004_to_the_second") == {
        "acceptance 8",
        "NFR-004",
    }
    assert requirements.ids_of_text("Acceptance 2, 3 and 4, and FR-011: one path.") == {
        "acceptance 2",
        "acceptance 3",
        "acceptance 4",
        "FR-011",
    }


def test_an_id_without_a_test_says_so() -> None:
    assert "| FR-009 | indicators for each workspace | not built yet |" in requirements.document({})
