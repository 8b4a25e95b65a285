"""One real PostgreSQL for a whole test run.

Owns its start, its stop and the removal of every trace. It must never outlive the run: what a run that was killed
left behind is ended by the next one. With LASTHEARD_TEST_DSN set, that server is used and nothing is started.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
from storage.embedded.files import FolderLock
from storage.embedded.process import find_live_postmaster

# A test run may lose its data to a power cut; it must not wait for the disk.
FAST_SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
_RUNS: Final = "lastheard-run-"


@contextmanager
def running_postgres() -> Iterator[str]:
    """The DSN of a server with an empty database `lastheard`, for the length of the block. For synchronous code:
    it calls `trio.run` itself.
    """
    given = os.environ.get("LASTHEARD_TEST_DSN")
    if given:
        yield given
        return
    _end_leftovers()
    with public_folder(_RUNS) as folder:
        server = EmbeddedPostgres(folder, extra_settings=FAST_SETTINGS)
        try:
            trio.run(server.start)
            yield server.dsn
        finally:
            trio.run(server.stop)


@contextmanager
def public_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that every user may pass through, as a server run by root's deputy has to; pytest's own
    are closed to others.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def _end_leftovers() -> None:
    for folder in Path("/tmp").glob(f"{_RUNS}*"):  # noqa: S108 only folders with our lock in them
        # No lock file yet: that run is just beginning.
        if (folder / "lock").exists():
            _end_leftover(folder)


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
