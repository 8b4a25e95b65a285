"""One subject has one file name on each floor: a store stands where its protocol's name says.

`storage/cycles.py` or `storage/cycles/` fulfils the protocol of `ports/cycles.py`. So whoever knows
the name of a subject knows where its protocol, its store and its statements are.
"""

from __future__ import annotations

import ast
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source import ROOT, Module, all_modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FULFILS = re.compile(r"ports\.(\w+)\.\w+")
# Protocols that no store fulfils: vendors, the legacy system, a live call, the stores of ownership.
WITHOUT_A_STORE = {"legacy", "ownership", "providers", "trials"}


def stores(modules: Iterable[Module]) -> Iterator[tuple[str, PurePosixPath]]:
    """Return each store of PostgreSQL: the module of its protocol, and the file that it stands in.

    Its docstring begins with the protocol's name.
    """
    for module in modules:
        if module.path.parts[0] != "storage" or "memory" in module.path.parts:
            continue
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                found = _FULFILS.match(ast.get_docstring(node) or "")
                if found:
                    yield found[1], module.path


def misplaced(modules: Iterable[Module]) -> list[str]:
    """Return the stores that stand under another name than that of their protocol."""
    return [
        f"{path}: ports/{subject}.py"
        for subject, path in stores(modules)
        if PurePosixPath(path.parts[1]).stem != subject
    ]


def test_every_store_has_the_name_of_its_protocol() -> None:
    assert misplaced(all_modules()) == []


def test_every_protocol_of_storage_has_its_store() -> None:
    ports = {path.stem for path in (ROOT / "ports").glob("*.py")} - {"__init__"}
    assert {subject for subject, _ in stores(all_modules())} == ports - WITHOUT_A_STORE


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("storage/cycles.py", []),
        ("storage/cycles/store.py", []),
        ("storage/runs.py", ["storage/runs.py: ports/cycles.py"]),
    ],
)
def test_a_store_under_another_name_is_found(path: str, found: list[str]) -> None:
    text = 'class Store:\n    """ports.cycles.CycleStore."""\n'
    assert misplaced([Module(PurePosixPath(path), text)]) == found
