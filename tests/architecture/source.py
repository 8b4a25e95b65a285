"""The project's own files as the rules see them: text and syntax tree of every module.

Owns reading them and the names in them. It must never import a module that it reads: one that
cannot be imported still has to keep the rules.
"""

from __future__ import annotations

import ast
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
HOUSE = (
    "domain",
    "runtime",
    "storage",
    "providers",
    "legacy",
    "ports",
    "actors",
    "api",
    "simulator",
    "lastheard",
)
BESIDE = ("tests", "benchmarks")


@dataclass(frozen=True)
class Module:
    """One Python file. `path` is relative to the project's root."""

    path: PurePosixPath
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def folder(self) -> str:
        """The top-level folder."""
        return self.path.parts[0]

    @property
    def package(self) -> tuple[str, ...]:
        """The package that relative imports start from."""
        return self.path.parent.parts

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield (line, dotted name) of every import, also of those for type checking only.

        A type is a dependency too. `from a import b` is `a.b`, whether b is a module or a name in
        one.
        """
        yield from self._imports_in(ast.walk(self.tree))

    def runtime_imports(self) -> Iterator[tuple[int, str]]:
        """Yield the same without imports under `if TYPE_CHECKING:`."""
        yield from self._imports_in(_executed(self.tree))

    def _imports_in(self, nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Call) and self.name_of(node.func) in (
                "importlib.import_module",
                "__import__",
            ):
                yield from (
                    (node.lineno, argument.value)
                    for argument in node.args[:1]
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                )

    def _origin(self, node: ast.ImportFrom) -> str:
        above = self.package[: len(self.package) - node.level + 1] if node.level else ()
        return ".".join([*above, *([node.module] if node.module else [])])

    @cached_property
    def _aliases(self) -> dict[str, str]:
        """Local name -> the dotted name that it was imported as, anywhere in the file."""
        known: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                known.update({alias.asname: alias.name for alias in node.names if alias.asname})
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                known.update(
                    {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
                )
        return known

    def name_of(self, node: ast.expr) -> str:
        """Return the dotted name of an expression, with imports resolved; empty if it has none."""
        if isinstance(node, ast.Name):
            return self._aliases.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            before = self.name_of(node.value)
            return f"{before}.{node.attr}" if before else ""
        return ""


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield everything below a node that may run: not the body of `if TYPE_CHECKING:`."""
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children = node.orelse
    for child in children:
        yield from _executed(child)


def read_module(path: Path) -> Module:
    return Module(
        PurePosixPath(path.relative_to(ROOT).as_posix()), path.read_text(encoding="utf-8")
    )


@lru_cache(maxsize=1)
def shipped_modules() -> tuple[Module, ...]:
    """Return every module of the product."""
    return _modules_in(HOUSE)


@lru_cache(maxsize=1)
def all_modules() -> tuple[Module, ...]:
    """Return every module of the product, its tests and its benchmarks."""
    return shipped_modules() + _modules_in(BESIDE)


def _modules_in(folders: tuple[str, ...]) -> tuple[Module, ...]:
    return tuple(
        read_module(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))
    )


def project_files() -> list[Path]:
    """Return all files that git tracks, or does not ignore, and that exist."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    )
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return sorted(path for path in paths if path.is_file())


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
