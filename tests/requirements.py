"""What was asked for, and the tests that hold it: the ids at the beginning of a test's name.

`test_fr_003_d_005_…` holds FR-003 and D-005, `test_acceptance_6_and_8_…` two acceptance behaviours.
Each id needs a test that asks a running service over HTTP on a real PostgreSQL; `make acceptance`
runs those. `make docs` writes docs/requirements.md from the same names, and a test compares.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tests.architecture.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DOCUMENT: Final = ROOT / "docs" / "requirements.md"

# The folders whose tests ask a running service over HTTP on a real PostgreSQL.
OVER_HTTP: Final = ("tests/acceptance/", "tests/processes/")

# Id -> what it asks for, in our words.
ASKED: Final[Mapping[str, str]] = {
    "FR-001": "every active workspace gets its poll cycle in every slot",
    "FR-002": "starts are staggered by workspace, after a restart or takeover too",
    "FR-003": "scheduled polling calls providers directly, never through the stream transport",
    "FR-004": "one canonical snapshot for each device",
    "FR-005": "a health report for each workspace: state and last update received",
    "FR-006": "the health states; every active device has exactly one",
    "FR-007": "the worklist, with reason and recency",
    "FR-008": "every consumer reads values and freshness from one contract",
    "FR-009": "indicators for each workspace; the silence ledger is not built",
    "FR-010": (
        "clear boundaries between transport, interpretation, acceptance, persistence and reads"
    ),
    "FR-011": "streams, envelopes and polls share one acceptance path",
    "FR-012": "health is computed at request time; no verdict is stored",
    "FR-013": "commands are judged by shared persisted state",
    "FR-014": "write endpoints need machine-to-machine authorization",
    "FR-015": "stale and duplicate updates are rejected before persistence",
    "NFR-001": "95 % of active devices are fresh while providers are available",
    "NFR-002": "all readers converge within one refresh cycle",
    "NFR-003": "every cycle, submission and envelope leaves a traceable record",
    "NFR-004": "a configured-no-data device is reported at the first request after its grace",
    "NFR-005": "health, issues and worklist answer within their budgets",
    "D-001": "five-minute freshness is the explicit service level",
    "D-002": "polling is staggered by a deterministic offset and jitter",
    "D-003": "one canonical snapshot for all readers",
    "D-004": "configured-no-data is a health state of its own",
    "D-005": "streams are managed apart and take no part in scheduled polling",
    "D-006": "stale after 15 minutes by default, configurable per workspace",
    "D-007": "a grace of 60 minutes by default, configurable per workspace",
    "D-008": "nothing needs an event bus or a projection; both come later",
    "D-009": "health and issues are computed at request time",
    "D-010": "cutover and rollback by toggles per workspace",
    "D-011": "one acceptance path for envelopes and polls",
    "SC-01": "staggered cycles, one attempt within the cadence, without the stream transport",
    "SC-02": "snapshot and event history move together, with values and last update received",
    "SC-03": "streams and polls: same validation, same persistence, same contract",
    "SC-04": "an unresolved or conflicting identity leaves the snapshot as it is, visibly",
    "SC-05": "values are consistent across readers within one refresh cycle",
    "SC-06": "states by age, with age and reason in the answer",
    "SC-07": "stale and no-data lists with reason and recency",
    "SC-08": "rollback to legacy ownership by guardrail, with nothing destroyed",
    "SC-09": "synchronised schedules are rejected before activation",
    "SC-10": "the grace breach of configured-no-data, timed on its own",
    "SC-11": "a deterministic empty health report",
    "SC-12": "traceable lifecycle records of a cycle over collection and ingest",
    "SC-13": "indicators: cycle success, delay patterns, coverage",
    "SC-14": "from shadow to core reads only through the parity gate",
    "acceptance 1": "each workspace has its cycle in its slot, without the stream transport",
    "acceptance 2": "snapshot and event in one transaction",
    "acceptance 3": "stream, envelope and poll make the same update",
    "acceptance 4": "an unresolved or conflicting identity is rejected, visibly",
    "acceptance 5": "several readers see the same values and times",
    "acceptance 6": "the health rows, with age and reason",
    "acceptance 7": (
        "stale and configured-no-data devices with reason and recency; the same shape when empty"
    ),
    "acceptance 8": "the grace breach, to the second",
    "acceptance 9": "a schedule that would synchronise starts is refused",
    "acceptance 10": "the records of a cycle can be followed end to end",
    "acceptance 11": "indicators for cycle success, delay patterns and coverage",
    "acceptance 12": "from shadow to core reads only through the parity gate",
    "acceptance 13": "rollback destroys nothing, and service goes on",
}

# Ids that no test holds yet, with the mark and the reason that the table shows. An id that has a
# test must not be here.
NOT_BUILT: Final[Mapping[str, tuple[str, str]]] = {}

_ONE_ID: Final = r"(?:(?:fr|nfr|d)_\d{3}|sc_\d{2}|acceptance_\d+(?:_and_\d+)*)_"
_IDS: Final = re.compile(rf"test_((?:{_ONE_ID})*)")


def ids_of_name(name: str) -> list[str]:
    """Return the ids at the beginning of a test's name, as the customer writes them."""
    found: list[str] = []
    for each in re.findall(_ONE_ID, _beginning(name)):
        kind, *numbers = [word for word in each.strip("_").split("_") if word != "and"]
        if kind == "acceptance":
            found += [f"acceptance {number}" for number in numbers]
        else:
            found.append(f"{kind.upper()}-{numbers[0]}")
    return found


def without_ids(name: str) -> str:
    """Return a test's name without the ids at its beginning."""
    return f"test_{name.removeprefix('test_').removeprefix(_beginning(name))}"


def _beginning(name: str) -> str:
    match = _IDS.match(name)
    return match[1] if match else ""


def held_by(root: Path = ROOT) -> dict[str, list[str]]:
    """Return the tests that hold each id, as pytest names them, without parameters."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted((root / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in sorted(_tests_of(tree)):
            for each in ids_of_name(name):
                found[each].append(f"{path.relative_to(root).as_posix()}::{name}")
    return dict(found)


def over_http(held: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return for each id that was asked for its tests over HTTP, perhaps none."""
    return {
        each: [test for test in held.get(each, ()) if test.startswith(OVER_HTTP)] for each in ASKED
    }


def find_gaps(held: Mapping[str, list[str]]) -> list[str]:
    """Return a sentence for each id without a test, and for each that is listed and has one."""
    gaps = []
    for each, tests in over_http(held).items():
        if not tests and each not in NOT_BUILT:
            gaps.append(f"{each} has no test in {' or '.join(OVER_HTTP)}: {ASKED[each]}")
        if tests and each in NOT_BUILT:
            gaps.append(
                f"{each} has a test now ({tests[0]}): remove it from NOT_BUILT in"
                " tests/requirements.py"
            )
    return gaps


def _tests_of(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield node.name


def document(held: Mapping[str, list[str]]) -> str:
    """Return the whole page."""
    lines = [
        "# What was asked for, and the tests that hold it",
        "",
        (
            "Made by `make docs` from the names of the tests; a test compares. The ids are the "
            "customer's. `make acceptance` runs the tests of the third column: they ask a running "
            "service over HTTP, on a real PostgreSQL. Those of the fourth hold the rule beneath."
        ),
        "",
        "| id | asked for | held over HTTP by | and beneath by |",
        "| --- | --- | --- | --- |",
    ]
    for each, tests in over_http(held).items():
        beneath = [test for test in held.get(each, ()) if test not in tests]
        mark, why = NOT_BUILT.get(each, ("", ""))
        missing = f"{mark}: {why}" if mark else why
        lines.append(f"| {each} | {ASKED[each]} | {_cell(tests) or missing} | {_cell(beneath)} |")
    return "\n".join(lines) + "\n"


def _cell(tests: list[str]) -> str:
    return "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)


if __name__ == "__main__":
    DOCUMENT.write_text(document(held_by()), encoding="utf-8")
