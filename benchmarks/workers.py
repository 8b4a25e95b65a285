"""Child processes of the benchmarks, and their protocol.

A child sends lines of JSON, the parent lines of one word. Owns the pipes on both sides. A child's
errors go to a file and are shown when it fails. No child outlives `open_worker`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Any

import orjson
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

PATIENCE_SECONDS = 120.0
END_SECONDS = 15.0
_SHOWN_BYTES = 4000


class WorkerFailed(Exception):
    """A child did not send the expected line. The text has the end of its errors."""


class Worker:
    """One running child. `pid` is for measuring it."""

    def __init__(self, name: str, process: trio.Process, errors: IO[bytes]) -> None:
        self.process = process
        self._errors = errors
        self._name = name
        self._unread = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    async def hear(self, what: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return the child's next line, which must have the key `what`. Raises WorkerFailed."""
        line = None
        with trio.move_on_after(seconds):
            line = await self._read_line()
        if line is None:
            raise WorkerFailed(
                f"{self._name} did not say {what} within {seconds:g} s\n{self.tail()}"
            )
        told = orjson.loads(line) if line else {}
        if what not in told:
            raise WorkerFailed(
                f"{self._name} ended or said {told} instead of {what}\n{self.tail()}"
            )
        return told

    async def tell(self, word: str) -> None:
        """Send one line. Waits while the pipe is full."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{word}\n".encode())

    async def _read_line(self) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            chunk = await self.process.stdout.receive_some()
            if not chunk:
                return b""
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def tail(self) -> str:
        """Return the end of its errors."""
        return self.read_errors()[-_SHOWN_BYTES:]

    def read_errors(self) -> str:
        """Return all errors so far. Does not seek: the child shares the file's position."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode(errors="replace")


@asynccontextmanager
async def open_worker(
    name: str, command: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[Worker]:
    """Run a command until the end of the block, then ask it to end, and kill it after 15 s."""
    with tempfile.TemporaryFile() as errors:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            cwd=tempfile.gettempdir(),
        )
        try:
            yield Worker(name, process, errors)
        finally:
            process.terminate()
            with trio.move_on_after(END_SECONDS, shield=True) as ending:
                await process.wait()
            if ending.cancelled_caught:
                process.kill()
                with trio.move_on_after(END_SECONDS, shield=True):
                    await process.wait()


async def run_to_end(name: str, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command and return its standard output.

    Raises WorkerFailed with its errors when it does not end with 0 in time.
    """
    with trio.move_on_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            command,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment,
            cwd=tempfile.gettempdir(),
        )
        if done.returncode != 0:
            text = done.stderr[-_SHOWN_BYTES:].decode(errors="replace")
            raise WorkerFailed(f"{name} ended with {done.returncode}\n{text}")
        return done.stdout.decode()
    raise WorkerFailed(f"{name} did not end within {PATIENCE_SECONDS:g} s")


# --- In the child


def say(**facts: object) -> None:
    """Send one line to the parent."""
    print(orjson.dumps(facts).decode(), flush=True)


async def hear_word() -> str:
    """Wait for the parent's next word and return it; empty when the parent is gone.

    Cancelling leaves the waiting thread behind.
    """
    word: str = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    return word.strip()
