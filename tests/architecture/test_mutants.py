"""Every mutant applies to the code as it is, and only a red test counts."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.acceptance_mutants import MUTANTS
from tests.architecture.source import ROOT
from tests.cutover_mutants import MUTANTS as CUTOVER_MUTANTS
from tests.log_catalogue import PAGE
from tests.mutants import COPIED, Mutant, read_verdict
from tests.requirements import held_by, over_http

if TYPE_CHECKING:
    from pathlib import Path

EVERY = (*MUTANTS, *CUTOVER_MUTANTS)


@pytest.mark.parametrize("mutant", EVERY, ids=lambda mutant: f"{mutant.each}: {mutant.removed}")
def test_every_mutant_changes_the_code_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    path = tmp_path / mutant.edit.file
    path.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutant.edit.file, path)
    mutant.edit.apply(tmp_path, mutant.each)
    edited = path.read_text(encoding="utf-8")
    assert edited != (ROOT / mutant.edit.file).read_text(encoding="utf-8")
    if path.suffix == ".py":
        compile(edited, str(path), "exec")


def test_a_copy_has_the_page_that_the_tests_of_acceptance_read() -> None:
    assert PAGE.relative_to(ROOT).parts[0] in COPIED


def test_ten_ids_are_tried_each_with_a_test_of_its_own() -> None:
    held = over_http(held_by())
    assert len({mutant.each for mutant in MUTANTS}) >= 10
    assert [m.each for m in MUTANTS if f"tests/{m.test}" not in held[m.each]] == []


@pytest.mark.parametrize(
    ("cases", "said", "why"),
    [
        ("<testcase><failure>x\n  | AssertionError: two\n</failure></testcase>", "red", "Assert"),
        ('<testcase><failure message="assert 1 == 2">x</failure></testcase>', "red", "assert 1"),
        ("<testcase />", "GREEN", "the test passes"),
        ('<testcase><error message="cannot import">x</error></testcase>', "NO VERDICT", "cannot"),
        ('<testcase><skipped message="absent" /></testcase>', "NO VERDICT", "absent"),
        ("", "NO VERDICT", "no test was found"),
    ],
)
def test_only_a_failure_within_the_test_is_red(
    tmp_path: Path, cases: str, said: str, why: str
) -> None:
    report = tmp_path / "report.xml"
    report.write_text(f"<testsuite>{cases}</testsuite>", encoding="utf-8")
    verdict = read_verdict(report)
    assert verdict.said == said
    assert verdict.why.startswith(why)


def test_a_test_that_has_not_ended_is_no_verdict(tmp_path: Path) -> None:
    assert read_verdict(tmp_path / "report.xml").said == "NO VERDICT"
