"""The folders of an embedded PostgreSQL, and the lock on them.

    DATA_DIR/lock              held while we use the folder; its text is our process id
    DATA_DIR/postgres.log      the server's log, and postgres.log.1, the part before it
    DATA_DIR/postgres/         the home, of the user who runs PostgreSQL, closed to all others:
        cluster/               PostgreSQL's own data directory
        .s.PGSQL.5432          the only way in (under /tmp if this path is too long)

Owns this layout. If we are root and PostgreSQL's user cannot reach DATA_DIR (/root is closed on
most machines), the home is in /var/lib/lastheard and DATA_DIR/postgres.location names it. It is not
in /var/tmp, where each file that nobody reads for 30 days is removed. This module must never remove
a cluster, and never begin an empty one while there are signs of another.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from storage.embedded.binaries import (
    DEFAULT_MAJOR,
    Binaries,
    carries_major,
    find_wheel_binaries,
    reachable_binaries,
)
from storage.embedded.owner import (
    EmbeddedUnavailable,
    FolderInUse,
    Owner,
    choose_owner,
    make_private,
    make_shelter,
    owner_of,
)

SHELTER: Final = Path("/var/lib/lastheard")

_SOCKET_NAME: Final = ".s.PGSQL.5432"
# sockaddr_un holds 108 bytes on Linux, 104 on macOS.
_MAX_SOCKET_PATH_BYTES: Final = 99
# unix_socket_directories is a list with quoting rules of its own. A path with other characters gets
# a short path instead.
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./-]+")
_MAX_LOG_BYTES: Final = 4_000_000


@dataclass(frozen=True)
class Premises:
    """The places that a start needs to know. `home` and `sockets` exist."""

    home: Path
    sockets: Path
    programs: Binaries
    owner: Owner

    @property
    def binaries(self) -> Path:
        return self.programs.folder

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def socket(self) -> Path:
        return socket_in(self.sockets)


class FolderLock:
    """An flock on DATA_DIR/lock.

    The kernel releases it when our process ends, however it ends.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise FolderInUse naming its holder. Never waits."""
        if self._descriptor is not None:
            return
        # Close-on-exec (Python's default) matters: a postmaster that inherited the descriptor would
        # keep the lock after our process ends.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise FolderInUse(
                f"{self._path.parent} is in use by another Lastheard (process {holder}): stop "
                "that one, choose "
                "another data folder, or let both share a database by setting LASTHEARD_DSN"
            ) from taken
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        # The file stays. If it were removed, two processes could lock two different files of the
        # same name.
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class ServerLog:
    """DATA_DIR/postgres.log.

    It is in our folder and opened by us, so PostgreSQL's user needs no access to it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "postgres.log"

    def open(self) -> IO[bytes]:
        """Open the log for the server to append to.

        Because the server appends, the log can be truncated safely while it writes.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        return os.fdopen(os.open(self._path, flags, 0o600), "ab")

    def size(self) -> int:
        return self._path.stat().st_size

    def since(self, offset: int) -> str:
        with self._path.open("rb") as log:
            log.seek(offset)
            return log.read(_MAX_LOG_BYTES).decode(errors="replace")

    def keep_small(self) -> None:
        """Move a log of more than 4 MB to postgres.log.1, replacing the one before.

        A line that is written meanwhile is lost.
        """
        if self._path.exists() and self.size() > _MAX_LOG_BYTES:
            shutil.copyfile(self._path, self._path.with_name("postgres.log.1"))
            os.truncate(self._path, 0)


def socket_in(folder: Path) -> Path:
    return folder / _SOCKET_NAME


def find_recorded_home(data_dir: Path) -> Path | None:
    """Return the home of this data folder's database, by its real path; None if there is none yet.

    Changes nothing.
    """
    folder = data_dir.expanduser().resolve()
    record = folder / "postgres.location"
    home = Path(record.read_text().strip()) if record.exists() else folder / "postgres"
    return home.resolve() if home.is_dir() else None


def prepare_premises(
    data_dir: Path, *, shelter: Path, binaries: Binaries | None = None
) -> Premises:
    """Find or create every folder.

    Blocks: the first time as root it may copy 20 MB. Call it in a thread. `binaries` are used
    instead of the wheel's. Raises EmbeddedUnavailable, or OSError if a folder cannot be created.
    """
    default = binaries or find_wheel_binaries()
    owner = choose_owner()
    # Resolve it, because PostgreSQL and the kernel name the cluster by its real path, and we
    # compare our path with theirs.
    home = _find_home(data_dir, owner, shelter).resolve()
    owner = owner_of(home, owner)
    major = made_by(home / "cluster", default.major)
    programs = default if major == default.major else _other_binaries(home, major, wanted=binaries)
    sockets = _find_socket_folder(home, owner)
    return Premises(home, sockets, reachable_binaries(programs, owner, shelter), owner)


def remove_remains(premises: Premises) -> None:
    """Remove what a dead server left.

    Call it only when no process works in the cluster any more: the pid file is also PostgreSQL's
    own guard against that.
    """
    (premises.cluster / "postmaster.pid").unlink(missing_ok=True)
    for remains in premises.sockets.glob(f"{_SOCKET_NAME}*"):
        remains.unlink(missing_ok=True)
    for half_made in premises.home.glob("cluster.*.new"):
        shutil.rmtree(half_made, ignore_errors=True)


def remove_short_socket_folder(premises: Premises) -> None:
    """Remove the folder under /tmp that stood in for a home whose path is too long.

    It is empty after a stop.
    """
    if premises.sockets != premises.home:
        with contextlib.suppress(OSError):
            premises.sockets.rmdir()


def made_by(cluster: Path, default: int) -> int:
    """Return the major version that made this cluster, or `default` if there is no cluster yet.

    Raises EmbeddedUnavailable if the cluster does not say.
    """
    version = cluster / "PG_VERSION"
    if not cluster.exists():
        return default
    try:
        return int(version.read_text())
    except (FileNotFoundError, ValueError) as unreadable:
        raise EmbeddedUnavailable(
            f"{version} does not say which PostgreSQL made {cluster}: put a backup in its place, "
            "or choose another data folder",
            permanent=True,
        ) from unreadable


def _other_binaries(home: Path, major: int, *, wanted: Binaries | None) -> Binaries:
    """Return the wheel's binaries for a cluster that is not of the default version."""
    if wanted is None and carries_major(major):
        return find_wheel_binaries(major)
    here = f"PostgreSQL {wanted.major}" if wanted else f"no PostgreSQL {major}"
    raise EmbeddedUnavailable(
        f"{home / 'cluster'} was made by PostgreSQL {major}, and this installation has {here}: "
        "run that version on "
        "it, dump it (pg_dump) and load it into a new data folder, which gets PostgreSQL "
        f"{DEFAULT_MAJOR}; "
        "or choose another data folder",
        permanent=True,
    )


def _find_home(data_dir: Path, owner: Owner, shelter: Path) -> Path:
    record = data_dir / "postgres.location"
    if record.exists():
        home = Path(record.read_text().strip())
        if not home.is_dir():
            raise EmbeddedUnavailable(
                f"the database of {data_dir} was in {home}, and that folder is gone: put it back, "
                "or remove "
                f"{record} to begin with an empty one",
                permanent=True,
            )
        return home
    home = data_dir / "postgres"
    if home.exists() or not owner.switched or owner.can_enter(data_dir):
        make_private(home, owner)
        return home
    return _make_sheltered_home(data_dir, owner, shelter, record)


def _make_sheltered_home(data_dir: Path, owner: Owner, shelter: Path, record: Path) -> Path:
    make_shelter(shelter)
    home = shelter / hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    make_private(home, owner)
    if any(home.iterdir()):
        raise EmbeddedUnavailable(
            f"{home} still holds the database of an earlier {data_dir}: remove that folder to "
            "begin with an empty "
            f"one, or write its path into {record} to go on with it",
            permanent=True,
        )
    record.write_text(f"{home}\n")
    return home


def _find_socket_folder(home: Path, owner: Owner) -> Path:
    length = len(os.fsencode(home / _SOCKET_NAME))
    if length <= _MAX_SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(home)):
        return home
    # /tmp itself rather than TMPDIR, which may be long too. The name is the same after a restart.
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()
    short = Path("/tmp") / f"lastheard-{digest[:16]}"  # noqa: S108
    make_private(short, owner)
    if short.lstat().st_uid != owner.uid:
        raise EmbeddedUnavailable(f"{short} belongs to another user: remove it", permanent=True)
    return short
