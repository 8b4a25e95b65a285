"""Rules about the files as a whole: what is packaged, and what no text may mention."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source import (
    HOUSE,
    ROOT,
    Module,
    all_modules,
    project_files,
    pyproject,
    shipped_modules,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

# The patterns are in pieces, so that this file does not mention what it forbids.
MACHINE_FOLDER = re.compile(r"(?<![\w.~$}{])/(?:home|Users|root|work)/[\w.]")
PACKAGE_INDEX = re.compile(
    r"(?m)py" + r"pi\.org|python" + r"hosted\.org|^\s*-(?:i|-index-url|-extra-index-url|f)[ =]"
)


INSTANT_TO_TEXT = re.compile(r"strftime\(|\.isoformat\([^)]|replace\(\"\+00:00\"")

# FR-013: in-memory storage is for tests only, so an installed service does not have it.
NOT_SHIPPED = ("storage.memory",)


def missing_packages(listed: Iterable[str], found: Iterable[str]) -> list[str]:
    """Return packages that the wheel would lack, and listed ones that must not be in it."""
    listed = set(listed)
    shipped = {name for name in found if not name.startswith(NOT_SHIPPED)}
    return [f"not listed: {name}" for name in sorted(shipped - listed)] + [
        f"does not belong: {name}" for name in sorted(listed - shipped)
    ]


def repeated_classes(modules: Iterable[Module]) -> dict[str, list[str]]:
    """Class names that stand in more than one place, with their files."""
    places: dict[str, list[str]] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(module.path))
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def unpackaged_data(
    files: Iterable[PurePosixPath], package_data: dict[str, list[str]]
) -> list[str]:
    """Return files in packages that are neither Python nor package data.

    The wheel would lack them.
    """
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, globs in package_data.items()
        for pattern in globs
    ]
    return [
        str(path)
        for path in files
        if path.parts[0] in HOUSE
        and path.suffix not in (".py", ".md")
        and not any(fnmatch(str(path), pattern) for pattern in patterns)
    ]


def forbidden_mentions(text: str) -> list[str]:
    """Return lines that name a folder of a machine or a package index."""
    return [
        f"{number}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_FOLDER.search(line) or PACKAGE_INDEX.search(line)
    ]


def test_the_wheel_lists_every_package_and_no_other() -> None:
    found = {".".join(module.package) for module in shipped_modules()}
    assert missing_packages(pyproject()["tool"]["setuptools"]["packages"], found) == []


def test_every_package_has_an_init() -> None:
    folders = {module.path.parent for module in all_modules()}
    assert [
        str(folder) for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()
    ] == []


def test_the_wheel_carries_every_file_that_is_not_python() -> None:
    files = [PurePosixPath(path.relative_to(ROOT).as_posix()) for path in project_files()]
    assert unpackaged_data(files, pyproject()["tool"]["setuptools"]["package-data"]) == []


def test_no_text_mentions_a_machine_or_a_package_index() -> None:
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}:{mention}" for mention in forbidden_mentions(text)]
    assert found == []


def test_no_two_classes_of_the_service_have_one_name() -> None:
    assert repeated_classes(shipped_modules()) == {}


def test_one_module_writes_instants_as_text() -> None:
    """The simulator has a form of its own: it stands for other people's systems."""
    places = {
        str(module.path)
        for module in shipped_modules()
        if module.folder != "simulator" and INSTANT_TO_TEXT.search(module.text)
    }
    assert places == {"runtime/instants.py"}


@pytest.mark.parametrize(
    "text",
    ['at.isoformat().replace("+00:00", "Z")', 'at.strftime("%H")', "at.isoformat(timespec=x)"],
)
def test_an_instant_written_elsewhere_is_found(text: str) -> None:
    assert INSTANT_TO_TEXT.search(text)


def test_a_repeated_class_name_is_found() -> None:
    modules = [
        Module(PurePosixPath("api/a.py"), "class Clock: ...\nclass Key: ..."),
        Module(PurePosixPath("simulator/b.py"), "if x:\n    class Clock: ..."),
    ]
    assert repeated_classes(modules) == {"Clock": ["api/a.py", "simulator/b.py"]}


def test_a_package_left_out_or_invented_is_found() -> None:
    problems = missing_packages(
        ["api", "apo", "storage.memory"], ["api", "storage.memory", "storage.sql"]
    )
    assert problems == [
        "not listed: storage.sql",
        "does not belong: apo",
        "does not belong: storage.memory",
    ]


def test_a_data_file_left_out_is_found() -> None:
    files = [
        PurePosixPath(name)
        for name in ("storage/sql/a.sql", "api/pages/index.html", "docs/a.svg", "api/app.py")
    ]
    assert unpackaged_data(files, {"storage": ["sql/*.sql"]}) == ["api/pages/index.html"]


@pytest.mark.parametrize(
    "text",
    [
        "see /home" + "/somebody/notes",
        'path = "/work' + '/project"',
        "file:/root" + "/.cache",
        "index = https://py" + "pi.org/simple",
        "--index-url" + "=https://mirror.example",
        "-i" + " https://mirror.example",
    ],
)
def test_a_mention_is_found(text: str) -> None:
    assert forbidden_mentions(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "a closed folder such as /root",
        "GET /worklist",
        "--no-emit-index-url",
        "https://example.org/home/a",
        "~/work/x",
    ],
)
def test_a_harmless_line_is_not_a_mention(text: str) -> None:
    assert forbidden_mentions(text) == []
