"""A process of this service as its user sees it: arguments in, output, records and exit code out.

Owns the process and its pipes. Both pipes are read into memory without pause, so the child never
waits for the test. The memory is bounded by what a test's processes write in its minutes. Nothing
outlives `open_child`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson
import trio

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Callable, Mapping

PATIENCE_SECONDS: Final = 30.0
LASTHEARD: Final = (sys.executable, "-m", "lastheard")
# A grandchild that outlives its parent holds the pipe open. The census finds it, so reading on is
# not needed.
_LAST_OUTPUT_SECONDS: Final = 2.0
_SHOWN_CHARACTERS: Final = 3000


class Child:
    """One running process.

    `out` and `errors` grow while it runs; `records` are the JSON lines among the errors.
    """

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.out = ""
        self.errors = ""
        self.records: list[dict[str, Any]] = []
        self._unfinished = b""
        self._more = trio.Event()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or minus the number of the signal that ended it. None while it runs."""
        return self.process.returncode

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process alone. Does nothing if it has ended."""
        self.process.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group, as the terminal does with Ctrl-C."""
        if self.process.returncode is None:
            os.killpg(self.pid, number)

    async def wait_ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it has ended and all its output is read. Returns its exit code."""
        with trio.move_on_after(seconds):
            await self.process.wait()
        assert self.exit_code is not None, f"still running after {seconds:g} s\n{self.tail()}"
        with trio.move_on_after(_LAST_OUTPUT_SECONDS):
            while self._unread:
                await self._more.wait()
        return self.exit_code

    async def wait_for_record(
        self, event: str, seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """Wait for the first record of this event, and return it."""
        await self.wait_until(
            lambda: any(record["event"] == event for record in self.records),
            f"record {event}",
            seconds,
        )
        return next(record for record in self.records if record["event"] == event)

    async def wait_for_output(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until this text is on its standard output."""
        await self.wait_until(lambda: text in self.out, f"output {text!r}", seconds)

    async def wait_until(
        self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Wait until its output fulfils the condition. Fails if it ends first or takes too long."""
        with trio.move_on_after(seconds):
            while not condition():
                assert self._unread, f"ended with {self.exit_code} before: {what}\n{self.tail()}"
                await self._more.wait()
            return
        raise AssertionError(f"not within {seconds:g} s: {what}\n{self.tail()}")

    def events(self, event: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["event"] == event]

    def tail(self) -> str:
        """Return the last part of its output, for the message of a failed test."""
        out, errors = self.out[-_SHOWN_CHARACTERS:], self.errors[-_SHOWN_CHARACTERS:]
        return f"--- out\n{out}\n--- errors\n{errors}"

    # --- reading

    _unread = 2  # pipes that are not read to their end

    async def read_out(self) -> None:
        async for chunk in _chunks(self.process.stdout):
            self.out += chunk.decode(errors="replace")
            self._wake()
        self._end_pipe()

    async def read_errors(self) -> None:
        async for chunk in _chunks(self.process.stderr):
            self.errors += chunk.decode(errors="replace")
            *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
            self.records += [record for line in lines if (record := _record(line)) is not None]
            self._wake()
        self._end_pipe()

    def _end_pipe(self) -> None:
        self._unread -= 1
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()


@asynccontextmanager
async def open_child(
    *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run a command in its own process session, and kill it at the end of the block if it runs."""
    with trio.CancelScope(
        shield=True
    ):  # between the fork and the handle a cancellation would lose the process
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=_environment(environment or {}),
        )
    child = Child(process)
    try:
        async with trio.open_nursery() as reading:
            reading.start_soon(child.read_out)
            reading.start_soon(child.read_errors)
            yield child
            reading.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.move_on_after(PATIENCE_SECONDS, shield=True):
            await process.wait()


async def run_lastheard(
    *arguments: str, seconds: float = PATIENCE_SECONDS, environment: Mapping[str, str] | None = None
) -> Child:
    """Run `lastheard` until it ends by itself, within so many seconds."""
    async with open_child(*LASTHEARD, *arguments, environment=environment) as child:
        await child.wait_ended(seconds)
    return child


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the machine's environment without settings of `lastheard`, and wide tables."""
    foreign = {
        name: value for name, value in os.environ.items() if not name.startswith("LASTHEARD_")
    }
    return {**foreign, "LASTHEARD_LOG_FORMAT": "json", "COLUMNS": "160", **ours}


async def _chunks(pipe: trio.abc.ReceiveStream | None) -> AsyncIterator[bytes]:
    assert pipe is not None
    while chunk := await pipe.receive_some():
        yield bytes(chunk)


def _record(line: bytes) -> dict[str, Any] | None:
    """Parse a line of JSON. Other lines are messages, which are kept in `errors` only."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and "event" in record else None
