"""docs/requirements.md, made from the tests: `make docs` writes it, and a test compares it.

A test holds an id if its name has it (`test_fr_001_…`, `test_acceptance_10_…`), or if its docstring
or its module's docstring names it. An id that restates others is held by their tests.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tests.architecture.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

DOCUMENT: Final = ROOT / "docs" / "requirements.md"

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
    "FR-009": "indicators for each workspace",
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

# Decisions and scenarios of the customer that restate the above.
RESTATED: Final[Mapping[str, tuple[str, ...]]] = {
    "D-001": ("NFR-001",),
    "D-002": ("FR-002",),
    "D-003": ("FR-004", "FR-008"),
    "D-004": ("FR-006",),
    "D-005": ("FR-003",),
    "D-006": ("acceptance 6",),
    "D-007": ("acceptance 8",),
    "D-009": ("FR-012",),
    "D-010": ("acceptance 13",),
    "D-011": ("FR-011",),
    "SC-01": ("FR-001", "FR-002", "acceptance 1"),
    "SC-02": ("acceptance 2",),
    "SC-03": ("FR-011", "acceptance 3"),
    "SC-04": ("acceptance 4",),
    "SC-05": ("acceptance 5",),
    "SC-06": ("acceptance 6",),
    "SC-07": ("acceptance 7",),
    "SC-08": ("acceptance 13",),
    "SC-09": ("acceptance 9",),
    "SC-10": ("acceptance 8",),
    "SC-11": ("acceptance 7",),
    "SC-12": ("acceptance 10",),
    "SC-13": ("acceptance 11",),
    "SC-14": ("acceptance 12",),
}

# Held by a command and not by a test, because a figure needs a quiet machine.
MEASURED: Final[Mapping[str, str]] = {"NFR-005": "`make bench-quick`, for 500 devices"}

_IN_NAMES: Final = re.compile(r"(?:^|_)(fr|nfr)_(\d{3})(?=_)|acceptance_(\d+(?:_and_\d+)*)(?=_)")
_IN_TEXT: Final = re.compile(r"\b(N?FR-\d{3})\b|\b[Aa]cceptance ((?:\d+(?:, | and )?)+)")


def ids_of_name(name: str) -> set[str]:
    """Return the ids in a test's name."""
    found: set[str] = set()
    for kind, number, acceptance in _IN_NAMES.findall(name):
        found |= {f"{kind.upper()}-{number}"} if kind else _acceptances(acceptance)
    return found


def ids_of_text(text: str) -> set[str]:
    """Return the ids in a docstring."""
    found: set[str] = set()
    for requirement, acceptance in _IN_TEXT.findall(text):
        found |= {requirement} if requirement else _acceptances(acceptance)
    return found


def _acceptances(text: str) -> set[str]:
    return {f"acceptance {number}" for number in re.findall(r"\d+", text)}


def held_by(root: Path = ROOT) -> dict[str, list[str]]:
    """Return the tests that hold each id, as pytest names them.

    If a module's docstring names the id, the whole file holds it.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted((root / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(root).as_posix()
        of_module = ids_of_text(ast.get_docstring(tree) or "")
        for each in of_module:
            found[each].add(place)
        for node in _tests_of(tree):
            for each in ids_of_name(node.name) | ids_of_text(ast.get_docstring(node) or ""):
                if each not in of_module:
                    found[each].add(f"{place}::{node.name}")
    return {each: sorted(places) for each, places in found.items()}


def _tests_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield node


def document(held: Mapping[str, Iterable[str]]) -> str:
    """Return the whole page."""
    lines = [
        "# What was asked for, and the tests that hold it",
        "",
        (
            "Made by `make docs` from the names and docstrings of the tests; a test compares. "
            "The ids are the customer's."
        ),
        "",
        "| id | asked for | held by |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {each} | {asked} | {_cell(each, held)} |" for each, asked in ASKED.items()]
    lines += [
        "",
        "Decisions and scenarios restate these:",
        "",
        "| id | restates |",
        "| --- | --- |",
    ]
    lines += [f"| {each} | {', '.join(others)} |" for each, others in RESTATED.items()]
    return "\n".join(lines) + "\n"


def _cell(each: str, held: Mapping[str, Iterable[str]]) -> str:
    places = [f"`{place}`" for place in held.get(each, ())]
    return "<br>".join(places) or MEASURED.get(each, "not built yet")


if __name__ == "__main__":
    DOCUMENT.write_text(document(held_by()), encoding="utf-8")
