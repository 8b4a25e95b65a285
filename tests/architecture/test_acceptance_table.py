"""The table of `make acceptance`: a line for each id, and what did not pass does not look well."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests import requirements
from tests.acceptance_table import find_faults, read_results, result_of, table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """One id that is not built, whatever is listed now."""
    monkeypatch.setitem(requirements.NOT_BUILT, "SC-14", ("H", "it is not built"))


REPORT = """<testsuites><testsuite>
<testcase file="tests/a.py" name="test_good" />
<testcase file="tests/a.py" name="test_rows[one]" />
<testcase file="tests/a.py" name="test_rows[two]"><failure message="no">…</failure></testcase>
<testcase file="tests/a.py" name="test_rows[three]" />
<testcase file="tests/a.py" name="test_setup"><error message="no">…</error></testcase>
<testcase file="tests/a.py" name="test_left_out"><skipped message="why" /></testcase>
</testsuite></testsuites>"""


def test_a_test_has_the_worst_result_of_its_parameters(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT, encoding="utf-8")
    assert read_results(report) == {
        "tests/a.py::test_good": "passed",
        "tests/a.py::test_rows": "failed",
        "tests/a.py::test_setup": "failed",
        "tests/a.py::test_left_out": "skipped",
    }


def test_a_report_that_was_not_written_has_no_results(tmp_path: Path) -> None:
    assert read_results(tmp_path / "report.xml") == {}


@pytest.mark.parametrize(
    ("each", "results", "said"),
    [
        ("FR-001", ["passed", "passed"], "passed"),
        ("FR-001", ["passed", "skipped"], "skipped"),
        ("FR-001", ["failed", "passed"], "failed"),
        ("FR-001", ["passed", None], "not run"),
        ("FR-001", [], "NO TEST"),
        ("SC-14", [], "H: it is not built"),
    ],
)
def test_an_id_has_the_worst_result_of_its_tests(
    each: str, results: list[str | None], said: str
) -> None:
    tests = [f"test_{number}" for number in range(len(results))]
    known = {test: one for test, one in zip(tests, results, strict=True) if one is not None}
    assert result_of(each, tests, known) == said


def test_whatever_did_not_pass_is_a_fault() -> None:
    tests = [f"tests/acceptance/test_a.py::test_{number}" for number in range(4)]
    results = {tests[0]: "passed", tests[1]: "failed", tests[2]: "skipped"}
    assert find_faults({"FR-001": tests}, results) == [
        f"{tests[1]}: failed",
        f"{tests[2]}: skipped",
        f"{tests[3]}: not run",
    ]


@pytest.mark.parametrize("width", [60, 160])
def test_the_table_keeps_id_count_and_result_at_any_width(width: int) -> None:
    held = {
        "FR-001": ["tests/acceptance/test_a.py::test_fr_001_a_cycle_in_every_slot"],
        "SC-14": [],
    }
    console = Console(file=io.StringIO(), width=width)
    console.print(table(held, {held["FR-001"][0]: "passed"}, width))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    (first,) = [line for line in lines if line.startswith("FR-001")]
    assert first.split("1  passed")[0] != first
    assert any(line.startswith("SC-14") and "H: it is not built" in line for line in lines)
    assert max(map(len, lines)) <= width
