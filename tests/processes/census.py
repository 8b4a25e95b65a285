"""Which processes of the machine belong to a test, whoever started them.

Owns the recognition: by the folder of the test (PostgreSQL gets an empty environment but works in
its cluster) and by a mark in the environment (everything else inherits it, in whatever process
session it runs).
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
    """The processes of one test. Give `environment` to whatever it starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._mark = uuid.uuid4().hex
        self.environment: Mapping[str, str] = {_MARK: self._mark}

    def living(self) -> list[psutil.Process]:
        """Zombies are not counted: they hold nothing and wait for whoever adopted them."""
        return [process for process in psutil.process_iter() if self._belongs(process)]

    async def wait_for_silence(self, seconds: float) -> list[str]:
        """What still lives after so many seconds, in words; empty as soon as nothing does."""
        with trio.move_on_after(seconds):
            while self.living():  # noqa: ASYNC110 the kernel tells the end of a process to its parent alone
                await trio.sleep(0.05)
        return [_describe(process) for process in self.living()]

    def end_all(self) -> None:
        """For the end of a test that failed: nothing may stay."""
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
        return f"{process.name()} {process.pid}: {' '.join(process.cmdline())[:120]} in {process.cwd()}"
    except psutil.Error:
        return f"{process.pid}, just gone"
