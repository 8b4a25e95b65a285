"""The processes of an embedded PostgreSQL: recognise them, start them and end them.

Owns the judgement "this process id is the postmaster of this cluster", the signals sent to it, and
the tools that a start runs (initdb). It must never signal a process that it has not recognised,
whatever a pid file says: process ids are reused, and a pid file outlives the server that wrote it.
For that reason PostgreSQL is stopped by the signals that `pg_ctl stop` sends, and not by pg_ctl,
which believes the file.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil
import trio

from storage.embedded.files import Premises

_POLL_SECONDS: Final = 0.02
_NO_SIGNAL: Final = 0
_ORPHAN_PATIENCE_SECONDS: Final = 2.0
_KILLED_SESSION_SECONDS: Final = 2.0
# Nothing of our own environment, because variables such as PGPORT and PGDATA change what PostgreSQL
# does.
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
# The signals that `pg_ctl stop` sends for its modes, and the share of the budget for each mode.
_STOP_STEPS: Final = (
    ("fast", signal.SIGINT, 0.6),
    ("immediate", signal.SIGQUIT, 0.25),
    ("killed", signal.SIGKILL, 0.15),
)


@dataclass(frozen=True)
class PidFile:
    """The claims of postmaster.pid.

    `socket_folder` is None until the server has opened its socket.
    """

    pid: int
    socket_folder: Path | None

    @classmethod
    def read(cls, cluster: Path) -> "PidFile | None":
        """Read the claims from the cluster's file.

        Returns None if there is no such file, or if it holds no claim that can be checked.
        """
        try:
            lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None
        if not lines or not lines[0].isdigit():
            return None
        return cls(int(lines[0]), Path(lines[4]) if len(lines) > 4 and lines[4] else None)


class Postmaster:
    """A recognised postmaster: our own child, or a server that outlived its starter."""

    def __init__(
        self, process: psutil.Process, *, cluster: Path, child: trio.Process | None = None
    ) -> None:
        self._process = process
        self._cluster = cluster
        self._child = child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def adopted(self) -> bool:
        return self._child is None

    @property
    def exit_status(self) -> int | None:
        """The status of a child that has ended; None while it runs, and for an adopted server."""
        return None if self._child is None else self._child.returncode

    def is_running(self) -> bool:
        """Return whether the server runs. Reaps a child that has ended.

        A zombie does not run: it holds no lock, no socket and no memory.
        """
        if self._child is not None:
            return self._child.returncode is None
        return _is_alive(self._process)

    async def wait(self) -> None:
        """Wait until the server has ended, for whatever reason.

        No deadline: it may run for ever.
        """
        if self._child is not None:
            await self._child.wait()
            return
        await _until(lambda: not _is_alive(self._process))

    async def stop(self, budget_seconds: float) -> str:
        """End the server and every process of its cluster.

        Returns how: "fast", "immediate", "killed" or "was not running". Fast waits for the shutdown
        checkpoint. Immediate loses nothing either, because the next start replays the log. Takes at
        most the budget and a moment. Call it shielded.
        """
        how = "was not running"
        for step, number, share in _STOP_STEPS:
            if not self.is_running():
                break
            how = step
            _send(self._process, number)
            with trio.move_on_after(budget_seconds * share):
                await self.wait()
        await end_orphans(self._cluster)
        return how

    def end_at_once(self) -> None:
        """Send the signal of an immediate stop, without waiting for the end."""
        if self.is_running():
            _send(self._process, signal.SIGQUIT)


def find_live_postmaster(cluster: Path) -> tuple[Postmaster, PidFile] | None:
    """Return the server that postmaster.pid names, or None.

    None unless that process lives and works in this very cluster.
    """
    claim = PidFile.read(cluster)
    if claim is None:
        return None
    try:
        process = psutil.Process(claim.pid)
    except psutil.NoSuchProcess:
        return None
    if not _works_in(process, cluster) or _is_backend(process):
        return None
    return Postmaster(process, cluster=cluster), claim


async def end_orphans(cluster: Path) -> int:
    """End the processes that still work in a cluster without a living postmaster.

    Returns how many were found. Waits first, because the backends of a killed postmaster notice its
    death and leave by themselves; then kills them. Two generations that write to one cluster would
    destroy it, so a start has to see the last one gone.
    """
    found = len(_processes_in(cluster))
    if not found:
        return 0
    for number in (_NO_SIGNAL, signal.SIGQUIT, signal.SIGKILL):
        for process in _processes_in(cluster):
            _send(process, number)
        with trio.move_on_after(_ORPHAN_PATIENCE_SECONDS) as patience:
            await _until(lambda: not _processes_in(cluster))
        if not patience.cancelled_caught:
            break
    return found


async def start_postmaster(
    command: Sequence[str], place: Premises, output: IO[bytes]
) -> Postmaster:
    """Start a server in a process session of its own.

    So neither Ctrl-C nor our death reaches it. The server appends to `output` for as long as it
    lives, so this has to be a file, never a pipe of ours.
    """
    # Shielded: a cancellation between the fork and the return of its handle would lose the process.
    with trio.CancelScope(shield=True):
        child = await _open(command, place, output)
    return Postmaster(psutil.Process(child.pid), cluster=place.cluster, child=child)


async def run_tool(command: Sequence[str], place: Premises) -> tuple[int, str]:
    """Run a short program to its end, and return its exit status and what it printed.

    If this is cancelled, the program and its children are killed, and it is reaped. The caller sets
    the deadline.
    """
    with tempfile.TemporaryFile() as output:
        with trio.CancelScope(shield=True):
            process = await _open(command, place, output)
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                await _kill_session(process)
        output.seek(0)
        return status, output.read().decode(errors="replace")


async def _open(command: Sequence[str], place: Premises, output: IO[bytes]) -> trio.Process:
    owner = place.owner
    return await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output.fileno(),
        stderr=subprocess.STDOUT,
        cwd=place.home,
        env=_ENVIRONMENT,
        umask=0o077,
        start_new_session=True,
        user=owner.uid if owner.switched else None,
        group=owner.gid if owner.switched else None,
        extra_groups=[] if owner.switched else None,
    )


async def _kill_session(leader: trio.Process) -> None:
    """Kill a process session by its leader.

    The leader is not reaped yet, so its id cannot belong to another process.
    """
    with trio.CancelScope(shield=True):
        os.killpg(leader.pid, signal.SIGKILL)
        await leader.wait()
        # The children may still write where we are about to clean up, so wait until they are gone
        # too.
        with trio.move_on_after(_KILLED_SESSION_SECONDS):
            await _until(lambda: not _session_lives(leader.pid))


async def _until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds. The caller sets the deadline.

    The kernel reports the end of a process only to its parent, so there is nothing to wait for.
    """
    while not condition():  # noqa: ASYNC110 there is no event to wait for
        await trio.sleep(_POLL_SECONDS)


def _session_lives(session: int) -> bool:
    return any(
        _is_alive(process) and _session_of(process) == session for process in psutil.process_iter()
    )


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _processes_in(cluster: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _works_in(process, cluster)]


def _works_in(process: psutil.Process, cluster: Path) -> bool:
    """Return whether the process belongs to a server on this cluster.

    Every process of a PostgreSQL server has its data directory as working directory.
    """
    try:
        if process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.cwd() == str(cluster)
    except psutil.Error:
        return False


def _is_backend(process: psutil.Process) -> bool:
    """Return whether the process is a backend, or cannot be read.

    Backends change their title to `postgres: checkpointer` and the like; the postmaster keeps its
    command line.
    """
    try:
        return process.cmdline()[0].startswith("postgres:")
    except (psutil.Error, IndexError):
        return True


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: int) -> None:
    # psutil compares the start time first, so that a reused process id is not signalled.
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
