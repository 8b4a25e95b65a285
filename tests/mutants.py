"""Mutants: remove something from the product, and see a test turn red.

Each mutant is one edit of one file, in a copy of the product and its tests, in which one named test
runs. A test that passes all the same is GREEN, and the command ends with 1. So it does if a test
did not come to its verdict, or if one of the tests fails in a copy without an edit. An edit whose
place is not found exactly once is an error: the code has moved, so move the mutant.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree

from rich.text import Text

from benchmarks.trees import copied
from lastheard.fitting import Column, fit_table, open_console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.table import Table

    from benchmarks.edits import Edit

SECONDS: Final = 240.0  # for one mutant; a quiet machine needs 15 to 60
COPIED: Final = ("tests", "benchmarks", "docs", "pyproject.toml")
RED: Final = "red"


class Mutant(NamedTuple):
    """What is removed of one id, and the test that must turn red."""

    each: str
    removed: str
    edit: Edit
    test: str


class Verdict(NamedTuple):
    """What became of a mutant: `red`, `GREEN`, or why there is no verdict; and the test's words."""

    said: str
    why: str = ""


def judge(mutant: Mutant) -> Verdict:
    """Run the mutant's test in a copy with its edit. Raises DoesNotApply."""
    with copied(*COPIED) as folder:
        mutant.edit.apply(folder, f"{mutant.each}, {mutant.removed}")
        return read_verdict(run_in(folder, [mutant.test]))


def run_in(folder: Path, tests: Sequence[str]) -> Path:
    """Run these tests of a copy with the copy's product. Returns where the report is, if any.

    The copy is the working directory, so that it comes before the checkout on every path, also on
    that of the processes that a test starts.
    """
    report = folder / "report.xml"
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    try:
        subprocess.run(
            (*command, f"--junitxml={report}", *(f"tests/{test}" for test in tests)),
            cwd=folder,
            env=environment,
            check=False,
            capture_output=True,
            timeout=SECONDS * len(tests),
        )
    except subprocess.TimeoutExpired:
        report.unlink(missing_ok=True)
    return report


def read_verdict(report: Path) -> Verdict:
    """Return the verdict on a mutant, of which one test ran.

    Only a failure within the test counts. An error before it may be one of the copy.
    """
    if not report.exists():
        return Verdict("NO VERDICT", "the test has not ended")
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it
    failures = [part for case in cases for part in case if part.tag == "failure"]
    if failures:
        return Verdict(RED, _first_line(failures[0]))
    others = [part for case in cases for part in case]
    if others or not cases:
        return Verdict("NO VERDICT", _first_line(others[0]) if others else "no test was found")
    return Verdict("GREEN", "the test passes without it")


def _first_line(part: ElementTree.Element) -> str:
    """Return the first line of the failure; of a group of exceptions, of the first one in it."""
    lines = [line.strip(" |+-") for line in (part.text or "").splitlines()]
    told = [line for line in lines if line.startswith(("AssertionError", "trio.TooSlowError"))]
    return (told or (part.get("message") or "").splitlines() or [""])[0]


def check_without_edit(tests: Sequence[str]) -> list[str]:
    """Run all tests in a copy without an edit. Returns those that did not pass."""
    with copied(*COPIED) as folder:
        report = run_in(folder, tests)
        if not report.exists():
            return list(tests)
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it
    ran = {(_name_of(case), not len(case)) for case in cases}
    names = [(test, test.partition("::")[2]) for test in tests]
    return [test for test, name in names if (name, True) not in ran or (name, False) in ran]


def _name_of(case: ElementTree.Element) -> str:
    """Return the test's name without its parameters."""
    return str(case.get("name")).partition("[")[0]


def table(found: Iterable[tuple[Mutant, Verdict]], width: int) -> Table:
    columns = (
        Column("id"),
        Column("what was removed", shortens=True),
        Column("the test"),
        Column("how", 1, shortens=True),
    )
    rows = [
        (mutant.each, mutant.removed, Text(said, "green" if said == RED else "bold red"), why)
        for mutant, (said, why) in found
    ]
    return fit_table("what happens without it", columns, rows, width)


def run(mutants: Sequence[Mutant], title: str) -> int:
    """Judge the mutants that the command line names, or all; print, and return the exit code."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("id", nargs="*", help="only the mutants of these ids")
    ids = parser.parse_args().id
    chosen = [mutant for mutant in mutants if not ids or mutant.each in ids]
    found: list[tuple[Mutant, Verdict]] = []
    for mutant in chosen:
        found.append((mutant, judge(mutant)))
        print(f"{mutant.each}: {found[-1][1].said}", file=sys.stderr, flush=True)
    broken = check_without_edit(list(dict.fromkeys(mutant.test for mutant in chosen)))
    console = open_console()
    console.print(table(found, console.width))
    for test in broken:
        print(f"{test} does not pass in a copy without an edit, so its red says nothing")
    return 1 if broken or not chosen or any(said != RED for _, (said, _) in found) else 0
