"""The help of every command on 80 columns: no line is wider, and no summary is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from lastheard.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator


def _paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _paths(below, (*path, name))


PATHS = list(_paths(typer.main.get_command(app)))


def test_the_commands_of_groups_are_among_them() -> None:
    assert {("health",), ("token", "create"), ("provider", "try"), ("config", "check")} <= set(
        PATHS
    )


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_fits_80_columns(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}).output
    lines = shown.splitlines()
    assert lines[0].startswith("Usage: ")
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if line.endswith("...") and "ARGS" not in line] == []
