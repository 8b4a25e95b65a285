"""The user that an embedded PostgreSQL runs as, and what that user can reach.

PostgreSQL refuses to run as root. If we are root, it runs as an unprivileged user that exists
already. This module owns that choice and the creation of folders for that user. It must never
create a user, and never change the mode or owner of a folder that it did not make itself: we must
not open somebody's home directory to others.
"""

import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.faults import EnvironmentFault


class EmbeddedUnavailable(EnvironmentFault):
    """The embedded PostgreSQL cannot run here. The message says why, and what to do."""


class FolderInUse(EmbeddedUnavailable):
    """Another process of ours has this data folder, and runs a server on it or is about to."""

    permanent = True


@dataclass(frozen=True)
class Owner:
    """The operating-system user that runs PostgreSQL.

    `switched` is true if that is not the user we run as.
    """

    uid: int
    gid: int
    switched: bool

    def may(self, path: Path, bits: int) -> bool:
        """Return whether this user has all of these permissions on an existing path.

        4 is read, 1 is enter or run.
        """
        info = path.stat()
        shift = 6 if info.st_uid == self.uid else 3 if info.st_gid == self.gid else 0
        return (info.st_mode >> shift) & bits == bits

    def can_enter(self, folder: Path) -> bool:
        return all(self.may(step, 1) for step in (folder, *folder.parents))


def choose_owner() -> Owner:
    if os.geteuid() != 0:
        return Owner(uid=os.geteuid(), gid=os.getegid(), switched=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(uid=entry.pw_uid, gid=entry.pw_gid, switched=True)
    raise EmbeddedUnavailable(
        "PostgreSQL refuses to run as root, and this machine has neither a user postgres nor "
        "nobody: "
        "start Lastheard as an ordinary user, or set LASTHEARD_DSN",
        permanent=True,
    )


def owner_of(home: Path, preferred: Owner) -> Owner:
    """Return the user that PostgreSQL runs as: the owner of the home goes on using it.

    As root we become that user, whichever it is. Raises EmbeddedUnavailable if it cannot use the
    home.
    """
    info = home.lstat()
    owner = preferred
    if preferred.switched and info.st_uid not in (0, preferred.uid):
        owner = Owner(uid=info.st_uid, gid=info.st_gid, switched=True)
    if info.st_uid != owner.uid or (owner.switched and not owner.can_enter(home)):
        raise EmbeddedUnavailable(
            f"{home} belongs to user {info.st_uid}, and PostgreSQL would run as user {owner.uid} "
            "and cannot use it: "
            "start Lastheard as the user who made the folder, or choose another data folder",
            permanent=True,
        )
    return owner


def make_private(folder: Path, owner: Owner) -> None:
    """Make a folder that only its owner can enter.

    Raises EmbeddedUnavailable if there is one that others can enter: we do not trust a folder that
    somebody else prepared.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        info = folder.lstat()
        unfinished = (
            owner.switched
            and info.st_uid == 0
            and stat.S_ISDIR(info.st_mode)
            and not any(folder.iterdir())
        )
        if not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o077:
            raise EmbeddedUnavailable(
                f"{folder} must be a folder only its owner can enter: chmod 700 or move it",
                permanent=True,
            ) from None
        if not unfinished:
            return
    if owner.switched:
        os.chown(folder, owner.uid, owner.gid, follow_symlinks=False)


def make_shelter(shelter: Path) -> None:
    """Make root's own folder, which others may pass through and not change."""
    with suppress(FileExistsError):  # perhaps another process was first
        shelter.mkdir()
        shelter.chmod(0o755)  # our own new folder, and the umask may be stricter
    info = shelter.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise EmbeddedUnavailable(
            f"{shelter} must be a folder that belongs to root and that only root can write to",
            permanent=True,
        )
