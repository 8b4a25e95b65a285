"""One real PostgreSQL for a whole test run.

Owns its start, its stop and the removal of every trace. It must never outlive the run: what a run
that was killed left behind is ended by the next one. With LASTHEARD_TEST_DSN set, that server is
used and nothing is started.

LASTHEARD_TEST_PG_MAJOR chooses another version than the newest of the wheel: one of the wheel's, or
one that is installed on this machine (LASTHEARD_TEST_PG_BIN is its bin folder when that is in no
usual place). Asked by name, `python -m tests.postgres` prints which server the tests would run, and
exits with 3 when the machine has none.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
from storage.embedded.binaries import DEFAULT_MAJOR, Binaries, carries_major, find_wheel_binaries
from storage.embedded.files import FolderLock
from storage.embedded.process import find_live_postmaster

# A test run may lose its data to a power cut; it must not wait for the disk.
FAST_SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
MAJOR: Final = int(os.environ.get("LASTHEARD_TEST_PG_MAJOR") or DEFAULT_MAJOR)
EXIT_ABSENT: Final = 3
_RUNS: Final = "lastheard-run-"


class VersionAbsent(Exception):
    """This machine does not have the version that was asked for."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server with an empty database `lastheard` for the block, and give its DSN.

    For synchronous code: it calls `trio.run` itself. Raises VersionAbsent.
    """
    given = os.environ.get("LASTHEARD_TEST_DSN")
    if given:
        yield given
        return
    _end_leftovers()
    binaries = find_binaries(MAJOR)
    with public_folder(_RUNS) as folder:
        server = EmbeddedPostgres(folder, extra_settings=FAST_SETTINGS, binaries=binaries)
        try:
            trio.run(server.start)
            yield server.dsn
        finally:
            trio.run(server.stop)


def find_binaries(major: int) -> Binaries:
    """Return the programs of the wheel, or of this machine. Raises VersionAbsent."""
    if carries_major(major):
        return find_wheel_binaries(major)
    given = os.environ.get("LASTHEARD_TEST_PG_BIN")
    folder = Path(given) if given else Path(f"/usr/lib/postgresql/{major}/bin")
    if not (folder / "postgres").is_file():
        raise VersionAbsent(
            f"no PostgreSQL {major} in {folder}: install it, or set LASTHEARD_TEST_PG_BIN"
        )
    return Binaries(folder, major)


@contextmanager
def public_folder(prefix: str) -> Iterator[Path]:
    """Make a temporary folder that every user may pass through, for the length of the block.

    A server that root runs as another user needs it. pytest's own folders are closed to others.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def _end_leftovers() -> None:
    for folder in Path("/tmp").glob(f"{_RUNS}*"):  # noqa: S108 only folders with our lock in them
        if _was_locked(folder / "lock"):
            _end_leftover(folder)


def _was_locked(lock: Path) -> bool:
    """Return whether a run has taken this lock: then it has written its process id into it.

    A run makes the file a moment before it takes the lock. Taken from it in that moment, its folder
    would be removed under it.
    """
    try:
        return lock.stat().st_size > 0
    except OSError:  # there is none yet, or its run has just ended
        return False


def _end_leftover(folder: Path) -> None:
    lock = FolderLock(folder)
    try:
        lock.acquire()
    except (EmbeddedUnavailable, OSError):
        return
    try:
        found = find_live_postmaster(folder / "postgres" / "cluster")
        if found is not None:
            trio.run(found[0].stop, 5.0)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()


def _main() -> int:
    try:
        folder = find_binaries(MAJOR).folder
    except VersionAbsent as absent:
        print(f"skipped: {absent}")
        return EXIT_ABSENT
    version = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, check=True, text=True
    ).stdout
    print(f"tests on {version.strip()}, {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
