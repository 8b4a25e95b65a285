"""Where the programs of Debian packages come from, and when their absence is a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.debian import find_program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no programs but those that a test puts into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LASTHEARD_NO_INSTALL", "1")
    monkeypatch.delenv("LASTHEARD_NO_SKIP", raising=False)
    return tmp_path


def put_program(folder: Path, name: str) -> Path:
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def test_a_program_of_the_machine_is_used(bare_machine: Path) -> None:
    program = put_program(bare_machine, "promtool")
    assert find_program("promtool", "prometheus") == program


def test_an_absent_program_skips_the_test() -> None:
    with pytest.raises(pytest.skip.Exception, match="no promtool on this machine, and no apt"):
        find_program("promtool", "prometheus")


def test_an_absent_program_may_be_a_failure_where_apt_is(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(bare_machine, "apt-get")
    monkeypatch.setenv("LASTHEARD_NO_SKIP", "1")
    with pytest.raises(pytest.fail.Exception, match="install the Debian package prometheus"):
        find_program("promtool", "prometheus")


def test_without_apt_an_absent_program_is_never_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTHEARD_NO_SKIP", "1")
    with pytest.raises(pytest.skip.Exception):
        find_program("promtool", "prometheus")
