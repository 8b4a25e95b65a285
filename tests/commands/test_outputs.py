"""An output that is closed, full or read no further: a sentence or nothing, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.processes
# An import takes half a second on a quiet machine. This only ends a process that hangs.
PATIENCE_SECONDS = 300


class Ended(NamedTuple):
    exit_code: int
    out: str
    errors: str


def run_in_shell(line: str) -> Ended:
    """Run a line of a shell, in which `$L` is the lastheard command."""
    done = subprocess.run(
        ["/bin/bash", "-c", line.replace("$L", f"{sys.executable} -m lastheard")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_is_no_fault(closed: str) -> None:
    ended = run_in_shell(f"$L config check {closed}")
    assert (ended.exit_code, ended.errors) == (0, "")


@pytest.mark.parametrize("words", ["config check", "--help"])
def test_a_full_output_is_69_with_a_sentence(words: str) -> None:
    ended = run_in_shell(f"$L {words} > /dev/full")
    said = "lastheard: the output cannot be written: No space left on device\n"
    assert ended == (69, "", said)


@pytest.mark.parametrize("words", ["config check", "simulate --help"])
def test_a_reader_that_leaves_gets_no_traceback(words: str) -> None:
    ended = run_in_shell(f"$L {words} | head -1")
    assert ended.out.count("\n") == 1
    assert ended.errors == ""
