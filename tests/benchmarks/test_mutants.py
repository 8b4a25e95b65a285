"""Mutants apply to the code as it is, and old trees can be driven: what the long runs rest on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.edits import DoesNotApply
from benchmarks.mutants import MUTANTS, Mutant
from benchmarks.names import PACKAGES, REQUIRED
from benchmarks.trees import ROOT, CannotBeDriven, Tree, inspect
from tests.architecture.source import read_module

if TYPE_CHECKING:
    from pathlib import Path


def copy_of(mutant: Mutant, folder: Path) -> Path:
    """The one file that the mutant edits, at its place below the folder."""
    path = folder / mutant.file
    path.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutant.file, path)
    return path


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_every_mutant_changes_the_code_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    path = copy_of(mutant, tmp_path)
    mutant.apply(tmp_path)
    assert path.read_text() != (ROOT / mutant.file).read_text()
    assert mutant.file.partition("/")[0] in PACKAGES


@pytest.mark.parametrize("places", [0, 2])
def test_a_mutant_whose_place_is_not_there_once_fails_loudly(places: int, tmp_path: Path) -> None:
    mutant = MUTANTS[0]._replace(pattern="the place", replacement="a fault")
    path = copy_of(mutant, tmp_path)
    path.write_text("the place\n" * places)
    with pytest.raises(DoesNotApply, match=f"found {places} times"):
        mutant.apply(tmp_path)


def test_a_mutant_whose_file_is_gone_fails_loudly(tmp_path: Path) -> None:
    with pytest.raises(DoesNotApply, match="found 0 times"):
        MUTANTS[0].apply(tmp_path)


# What an old tree is driven by, and what of the product it imports. Everything else asks over HTTP
# and SQL.
CHILDREN = {
    "ingest_driver": {
        "actors.ingest.IngestActor",
        "actors.session.CurrentSession",
        "domain.model.CanonicalUpdate",
        "domain.model.Ownership",
        "domain.model.Reading",
        "domain.model.SessionRef",
        "domain.model.Submission",
        "domain.position",
        "runtime.garbage",
        "runtime.logs.configure_logging",
        "storage.gateway.Database",
        "storage.gateway.open_bridge",
        "storage.ingest.PostgresIngestStore",
        "storage.pools.Pools",
        "storage.sessions.PostgresSessionStore",
    },
    "bare_updates": set(),
    "bare_frames": set(),
    "bare_route": set(),
    "sender": set(),
}


@pytest.mark.parametrize("child", CHILDREN)
def test_children_import_no_more_of_the_product_than_is_listed(child: str) -> None:
    """References import none of it, so that no fault or slowness of the product is in both."""
    seen, product, waiting = set(), set(), {f"benchmarks.{child}"}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        for _, name in read_module(ROOT / f"{module.replace('.', '/')}.py").imports():
            top = name.split(".")[0]
            if top == "benchmarks" and (owner := ".".join(name.split(".")[:2])) not in seen:
                waiting.add(owner)
            elif top in (*PACKAGES, "tests"):
                product.add(name)
    assert product == CHILDREN[child]


async def test_a_tree_without_some_package_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for name in REQUIRED[1:]:
        (tmp_path / name).mkdir()
    with pytest.raises(CannotBeDriven, match=r"^old cannot be driven: it has no lastheard$"):
        await inspect("old", tmp_path)


async def test_a_tree_that_cannot_be_imported_is_refused_with_reason(tmp_path: Path) -> None:
    for name in REQUIRED:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('too old')\n")
    with pytest.raises(CannotBeDriven, match=r"^old cannot be driven: ImportError: too old$"):
        await inspect("old", tmp_path)


async def test_a_module_missing_in_a_tree_is_not_taken_from_elsewhere(tmp_path: Path) -> None:
    for name in REQUIRED:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    with pytest.raises(CannotBeDriven, match=r"No module named 'lastheard.settings'"):
        await inspect("old", tmp_path)


def test_a_tree_comes_first_and_gets_only_settings_that_it_knows(tmp_path: Path) -> None:
    tree = Tree("old", tmp_path, frozenset(["dsn"]))
    environment = tree.environment(dsn="postgresql://here", probe_port="0")
    assert environment["PYTHONPATH"] == f"{tmp_path}:{ROOT}"
    assert environment["LASTHEARD_DSN"] == "postgresql://here"
    assert "LASTHEARD_PROBE_PORT" not in environment
