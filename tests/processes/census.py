"""Find the processes of the machine that belong to a test, whichever process started them.

Owns the recognition: by the folder of the test (PostgreSQL gets an empty environment but works in
its cluster) and by a mark in the environment (everything else inherits it, in any process session).
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Final

import psutil
import trio

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MARK: Final = "STARTED_BY_TEST"


class Census:
    """The processes of one test. Give `environment` to each process that the test starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._mark = uuid.uuid4().hex
        self.environment: Mapping[str, str] = {_MARK: self._mark}

    def living(self) -> list[psutil.Process]:
        """Return the processes that live. Zombies do not count: they only wait for their parent."""
        return [process for process in psutil.process_iter() if self._belongs(process)]

    async def wait_for_silence(self, seconds: float) -> list[str]:
        """Wait up to so many seconds for all to end. Returns those that still live, in words."""
        with trio.move_on_after(seconds):
            while self.living():  # noqa: ASYNC110 only a parent is told of a process's end
                await trio.sleep(0.05)
        return [_describe(process) for process in self.living()]

    def end_all(self) -> None:
        """Kill what is left, at the end of a test that failed."""
        left = self.living()
        for process in left:
            process.kill()
        psutil.wait_procs(left, 5.0)

    def _belongs(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return (
                process.environ().get(_MARK) == self._mark
                or process.cwd().startswith(self._folder)
                or any(self._folder in part for part in process.cmdline())
            )
        except psutil.Error:
            return False


def _describe(process: psutil.Process) -> str:
    try:
        command = " ".join(process.cmdline())[:120]
        return f"{process.name()} {process.pid}: {command} in {process.cwd()}"
    except psutil.Error:
        return f"{process.pid}, just gone"
