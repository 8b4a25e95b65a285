"""`make acceptance`: run every test that carries an id and asks over HTTP, and print them by id.

Ends with 1 if a test did not pass, or if an id has no test (tests/requirements.py says which may
have none). A test that was skipped or did not run has not passed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from rich.text import Text

from lastheard.fitting import Column, fit_table, open_console
from tests.architecture.source import ROOT
from tests.requirements import ASKED, NOT_BUILT, find_gaps, held_by, over_http, without_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.table import Table

PASSED: Final = "passed"
NOT_RUN: Final = "not run"
# From the best to the worst. A test with parameters has the worst of its results.
RESULTS: Final = (PASSED, NOT_RUN, "skipped", "failed")
STYLES: Final = {PASSED: "green", "H": "yellow", "not built": "yellow"}


def read_results(report: Path) -> dict[str, str]:
    """Return the result of each test in a JUnit report, as pytest names it, without parameters.

    A report that pytest did not write has no results.
    """
    results: dict[str, str] = {}
    if not report.exists():
        return results
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        test = f"{case.get('file')}::{str(case.get('name')).partition('[')[0]}"
        results[test] = worst((results.get(test, PASSED), _result(case)))
    return results


def _result(case: ElementTree.Element) -> str:
    parts = {part.tag for part in case}
    if parts & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in parts else PASSED


def worst(results: Iterable[str]) -> str:
    return max(results, key=RESULTS.index)


def run_tests(tests: Sequence[str], workers: int) -> dict[str, str]:
    """Run the tests, those that measure time last and alone. Returns the result of each."""
    together = ("-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder")
    results = _run(tests, "postgres and not measured", together)
    return results | _run(tests, "postgres and measured", ("-s",))


def _run(tests: Sequence[str], marks: str, how: Sequence[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="lastheard-acceptance-") as folder:
        report = Path(folder) / "report.xml"
        command = (
            *(sys.executable, "-m", "pytest", "-q", "-m", marks, *how),
            *("-o", "junit_family=xunit1", f"--junitxml={report}"),
        )
        subprocess.run((*command, *tests), cwd=ROOT, check=False)  # pytest's own output is shown
        return read_results(report)


def table(held: Mapping[str, list[str]], results: Mapping[str, str], width: int) -> Table:
    """Return one line for each id: what it asks for, its tests, and their result."""
    columns = (
        Column("id"),
        Column("asked for", 1, shortens=True),
        Column("tests", is_number=True),
        Column("result"),
        Column("names", 2, shortens=True),
    )
    rows = [_row(each, tests, results) for each, tests in held.items()]
    return fit_table("what was asked for", columns, rows, width)


def _row(each: str, tests: Sequence[str], results: Mapping[str, str]) -> list[str | Text]:
    names = ", ".join(without_ids(test.partition("::")[2])[len("test_") :] for test in tests)
    said = result_of(each, tests, results)
    coloured = Text(said, STYLES.get(said.partition(":")[0], "bold red"))
    return [each, ASKED[each], str(len(tests) or "-"), coloured, names]


def result_of(each: str, tests: Sequence[str], results: Mapping[str, str]) -> str:
    """Return the worst result of an id's tests, or why it has none."""
    if tests:
        return worst(results.get(test, NOT_RUN) for test in tests)
    if each in NOT_BUILT:
        mark, why = NOT_BUILT[each]
        return f"{mark}: {why}" if mark else why
    return "NO TEST"


def find_faults(held: Mapping[str, list[str]], results: Mapping[str, str]) -> list[str]:
    """Return a sentence for each test of an id that has not passed."""
    tests = sorted({test for tests in over_http(held).values() for test in tests})
    found = {test: results.get(test, NOT_RUN) for test in tests}
    return [f"{test}: {result}" for test, result in found.items() if result != PASSED]


def main(workers: int, ids: Sequence[str]) -> int:
    """Run and print; return the exit code. `ids`: only these, and without the look for gaps."""
    held = held_by()
    wanted = {each: tests for each, tests in over_http(held).items() if not ids or each in ids}
    tests = sorted({test for tests in wanted.values() for test in tests})
    results = run_tests(tests, workers) if tests else {}
    console = open_console()
    console.print(table(wanted, results, console.width))
    faults = find_faults(wanted, results) + ([] if ids else find_gaps(held))
    counts = Counter(results.get(test, NOT_RUN) for test in tests)
    told = ", ".join(f"{count} {result}" for result, count in counts.items())
    print(f"\n{len(wanted)} ids, {len(tests)} tests: {told}")
    print("".join(f"{fault}\n" for fault in faults), end="")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance_table", description=__doc__)
    parser.add_argument("id", nargs="*", help="only these, as FR-001 or 'acceptance 1'")
    parser.add_argument("-n", type=int, default=2, metavar="WORKERS", dest="workers")
    chosen = parser.parse_args()
    if unknown := [each for each in chosen.id if each not in ASKED]:
        parser.error(f"no such id: {', '.join(unknown)}; the ids are in docs/requirements.md")
    sys.exit(main(chosen.workers, chosen.id))
