"""`make acceptance-mutants`: remove what an id names, and see the id's test turn red.

This shows that the tests of `make acceptance` can fail. Each mutant is one edit of one file, in a
copy of the product and its tests, in which one named test runs. A test that passes all the same is
GREEN, and the command ends with 1. So it does if a test did not come to its verdict, or if one of
the tests fails in a copy without an edit. An edit whose place is not found exactly once is an
error: the code has moved, so move the mutant.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree

from rich.text import Text

from benchmarks.edits import Edit
from benchmarks.trees import copied
from lastheard.fitting import Column, fit_table, open_console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.table import Table

SECONDS: Final = 240.0  # for one mutant; a quiet machine needs 15 to 60
COPIED: Final = ("tests", "benchmarks", "pyproject.toml")
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


_KEPT: Final = 'self.__dict__.setdefault("kept", {})'

MUTANTS: Final = (
    Mutant(
        "SC-01",
        "the stagger: every phase is the same",
        Edit("domain/schedule.py", r"^(    share = )_fraction\([^\n]*$", r"\g<1>0.0"),
        "acceptance/test_schedule.py::"
        "test_acceptance_1_fr_001_sc_01_every_workspace_has_a_cycle_in_every_slot",
    ),
    Mutant(
        "FR-002",
        "the spread of late starts: a takeover starts everything at once",
        Edit(
            "domain/schedule.py",
            r"(        now)\n        \+ math\.sqrt\(_spread\([^\n]*LATE_RATIO\)\)[^\n]*,\n",
            r"\g<1>,\n",
        ),
        "processes/test_takeover_starts.py::test_fr_001_fr_002_d_002_a_takeover_keeps_starts_apart",
    ),
    Mutant(
        "FR-015",
        "the rejection of stale and duplicate readings",
        Edit("domain/comparison.py", r"if lead <= 0:", "if lead <= -2:"),
        "acceptance/test_retries.py::test_fr_015_a_batch_sent_again_changes_nothing",
    ),
    Mutant(
        "FR-014",
        "the look at the key's scopes",
        Edit("api/auth.py", r"if operation\.scope in access\.scopes:", "if access.scopes:"),
        "acceptance/test_bad_requests.py::test_fr_014_writes_need_a_key_with_the_right_scope",
    ),
    Mutant(
        "SC-04",
        "the comparison of an update's vehicle with the registry",
        Edit(
            "domain/acceptance.py",
            r"        or \(update\.vehicle_id is not None and [^\n]*\n",
            "",
        ),
        "acceptance/test_acceptance_path.py::"
        "test_acceptance_4_sc_04_bad_identity_is_refused_and_moves_nothing",
    ),
    Mutant(
        "SC-02",
        "the event that is appended with the snapshot",
        Edit(
            "storage/sql/ingest.sql",
            r"(^-- name: append_events\n(?:(?!^-- name:).)*?AS i \([^)]*\))",
            r"\g<1> WHERE false",
        ),
        "acceptance/test_acceptance_path.py::"
        "test_acceptance_2_sc_02_one_transaction_writes_snapshot_and_event",
    ),
    Mutant(
        "NFR-004",
        "the end of the grace",
        Edit(
            "domain/health_state.py",
            r"if activated_at < limits\.grace_before",
            "if activated_at is None",
        ),
        "acceptance/test_health_report.py::"
        "test_nfr_004_acceptance_8_sc_10_a_breach_of_grace_shows_at_the_next_request",
    ),
    Mutant(
        "SC-05",
        "the look into the database: a shard answers from what it read first",
        Edit(
            "storage/reads.py",
            r"rows = (await self\._fetch\(\"get_snapshot\", workspace_id, device_id\))",
            rf"rows = {_KEPT}.get(device_id) or {_KEPT}.setdefault(device_id, \g<1>)",
        ),
        "acceptance/test_readers.py::"
        "test_acceptance_5_fr_008_d_003_sc_05_readers_of_two_shards_agree_on_versions",
    ),
    Mutant(
        "D-008",
        "reads of the present rows: a list shows what it showed first",
        Edit(
            "storage/reads.py",
            r"rows = (await self\._fetch\(\"list_snapshots\", [^)]*\))",
            rf"rows = {_KEPT}.get(workspace_id) or {_KEPT}.setdefault(workspace_id, \g<1>)",
        ),
        "processes/test_instances.py::test_d_008_an_accepted_update_is_read_at_the_next_request",
    ),
    Mutant(
        "D-006",
        "the workspace's own stale threshold: it is 15 minutes for all",
        Edit(
            "domain/thresholds.py",
            r"middle\.stale_after_seconds, policy\.stale_after_seconds",
            "middle.stale_after_seconds, 900.0",
        ),
        "acceptance/test_devices_and_policy.py::"
        "test_d_006_d_007_limits_are_15_and_60_minutes_unless_changed",
    ),
    Mutant(
        "SC-07",
        "devices that never reported, from the worklist",
        Edit(
            "api/issues.py",
            r"for state in self\.state or IssueState\)",
            "for state in self.state or (IssueState.STALE,))",
        ),
        "acceptance/test_health_report.py::"
        "test_acceptance_7_fr_007_sc_07_the_worklist_has_reason_and_recency",
    ),
)


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
    passed = {str(case.get("name")) for case in cases if not len(case)}
    return [test for test in tests if test.partition("::")[2] not in passed]


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


def main(ids: Sequence[str]) -> int:
    """Judge the mutants of these ids, or all; print, and return the exit code."""
    chosen = [mutant for mutant in MUTANTS if not ids or mutant.each in ids]
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance_mutants", description=__doc__)
    parser.add_argument("id", nargs="*", help="only the mutants of these ids")
    sys.exit(main(parser.parse_args().id))
