"""The processes of an embedded PostgreSQL: which are ours, whether they live, and how they end.

Owns the judgement "this process id is the postmaster of this cluster", the signals sent to it, and the tools run
on the way (initdb). It must never signal a process that it has not recognised, whatever a pid file says: process
ids are reused, and a pid file outlives the server that wrote it. For that reason PostgreSQL is stopped by the
signals that `pg_ctl stop` sends, and not by pg_ctl, which believes the file.
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
# Nothing of our own environment: PGPORT, PGDATA and their like change what PostgreSQL does.
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
# What `pg_ctl stop` sends for its modes, and the share of the budget that each may use.
_STOP_STEPS: Final = (
    ("fast", signal.SIGINT, 0.6),
    ("immediate", signal.SIGQUIT, 0.25),
    ("killed", signal.SIGKILL, 0.15),
)


@dataclass(frozen=True)
class PidFile:
    """What postmaster.pid claims. `socket_folder` is None until the server has opened its socket."""

    pid: int
    socket_folder: Path | None

    @classmethod
    def read(cls, cluster: Path) -> "PidFile | None":
        """None when there is no such file, or when it holds no claim that can be checked."""
        try:
            lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None
        if not lines or not lines[0].isdigit():
            return None
        return cls(int(lines[0]), Path(lines[4]) if len(lines) > 4 and lines[4] else None)


class Postmaster:
    """A recognised postmaster: our own child, or a server that outlived the process which started it."""

    def __init__(self, process: psutil.Process, *, cluster: Path, child: trio.Process | None = None) -> None:
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
        """The status of an ended child; None while it runs, and always for an adopted server."""
        return None if self._child is None else self._child.returncode

    def is_running(self) -> bool:
        """A zombie does not run: it holds no lock, no socket and no memory. Reaps a child that has ended."""
        if self._child is not None:
            return self._child.returncode is None
        return _is_alive(self._process)

    async def wait(self) -> None:
        """Return when the server has ended, for whatever reason. No deadline: a server may run for ever."""
        if self._child is not None:
            await self._child.wait()
            return
        await _until(lambda: not _is_alive(self._process))

    async def stop(self, budget_seconds: float) -> str:
        """End the server and every process of its cluster; says how ("fast", "immediate" or "killed").

        Fast waits for the shutdown checkpoint; immediate loses nothing either, the next start replays the log.
        Takes at most the budget and a moment. Call it shielded.
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
        """Immediate, without waiting for it."""
        if self.is_running():
            _send(self._process, signal.SIGQUIT)


def find_live_postmaster(cluster: Path) -> tuple[Postmaster, PidFile] | None:
    """The server that postmaster.pid names, if that process lives and does work in this very cluster."""
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
    """Wait for, then kill, what still works in a cluster without a living postmaster; returns how many were found.

    The backends of a killed postmaster notice its death and leave by themselves. Two generations writing to one
    cluster would destroy it, so a start has to see the last one gone.
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


async def start_postmaster(command: Sequence[str], place: Premises, output: IO[bytes]) -> Postmaster:
    """Start a server in a process session of its own, so that neither Ctrl-C nor our death reaches it.

    `output` is appended to for as long as the server lives, so it has to be a file, never a pipe of ours.
    """
    # Shielded: between the fork and the return of its handle a cancellation would lose the process.
    with trio.CancelScope(shield=True):
        child = await _open(command, place, output)
    return Postmaster(psutil.Process(child.pid), cluster=place.cluster, child=child)


async def run_tool(command: Sequence[str], place: Premises) -> tuple[int, str]:
    """Run a short program to its end: exit status and what it printed.

    Cancelled, it is killed with its children and reaped. The caller sets the deadline.
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
    """Kill a process session by its leader, which is not reaped yet, so that its id cannot belong to others."""
    with trio.CancelScope(shield=True):
        os.killpg(leader.pid, signal.SIGKILL)
        await leader.wait()
        # Until its children are gone too they may write where we are about to clean up.
        with trio.move_on_after(_KILLED_SESSION_SECONDS):
            await _until(lambda: not _session_lives(leader.pid))


async def _until(condition: Callable[[], bool]) -> None:
    """Poll: the kernel tells the end of a process to its parent alone. The caller sets the deadline."""
    while not condition():  # noqa: ASYNC110 there is no event to wait for
        await trio.sleep(_POLL_SECONDS)


def _session_lives(session: int) -> bool:
    return any(_is_alive(process) and _session_of(process) == session for process in psutil.process_iter())


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _processes_in(cluster: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _works_in(process, cluster)]


def _works_in(process: psutil.Process, cluster: Path) -> bool:
    """Every process of a PostgreSQL server has its data directory as working directory."""
    try:
        if process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.cwd() == str(cluster)
    except psutil.Error:
        return False


def _is_backend(process: psutil.Process) -> bool:
    """Backends retitle themselves `postgres: checkpointer` and the like; the postmaster keeps its command line."""
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
