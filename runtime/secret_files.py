"""Reading a small secret file: open it once without blocking, check it as opened, then read it.

This module owns the checks. They are made on the opened file: between checking a path and opening
it later, the file may change, and a relative path may come to mean another file. It must never tell
what lies outside the folder.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from pathlib import Path

MAX_SECRET_BYTES = 64 * 1024
# Non-blocking, so that opening a FIFO returns at once. The file does not become a controlling
# terminal, and child processes do not inherit it.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class SecretFileFault(EnvironmentFault):
    """The file cannot be used as a secret. The text completes "the secret NAME …"."""


class OutsideFolder(SecretFileFault):
    """The path does not lie in the folder. The text does not tell whether a file is there."""

    permanent = True


def read_secret_file(target: str, folder: Path | None = None) -> bytes:
    """Return the whole content of a regular file of at most 64 kB.

    Blocks while the file system does. With `folder`, a relative target is relative to it, an
    absolute one must lie in it, and links must not lead out of it. Raises OutsideFolder and
    SecretFileFault.
    """
    path = target if folder is None else _path_inside(target, folder)
    try:
        file = os.open(path, _FLAGS)
    except OSError as error:
        raise _unreadable(error) from error
    except ValueError:  # a NUL in the path
        raise SecretFileFault("is not a path") from None
    try:
        _check_opened(file, folder)
        return _read_bounded(file)
    except OSError as error:
        raise _unreadable(error) from error
    finally:
        os.close(file)


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path lies below a folder. Both must be absolute and normalised."""
    return os.path.commonpath((path, folder)) == folder and path != folder


def _path_inside(target: str, folder: Path) -> str:
    """Return the path to open. Raises OutsideFolder, before anything is opened, if it leads out."""
    path = os.path.join(os.path.abspath(folder), target)
    try:
        leads_out = not is_inside(os.path.realpath(path), os.path.realpath(folder))
    except (OSError, ValueError):
        leads_out = True
    if leads_out:
        raise OutsideFolder(f"lies outside {folder}")
    return path


def _check_opened(file: int, folder: Path | None) -> None:
    opened = os.fstat(file)
    if not stat.S_ISREG(opened.st_mode):
        raise SecretFileFault("is not a regular file")
    if opened.st_size > MAX_SECRET_BYTES:
        raise SecretFileFault(f"is larger than {MAX_SECRET_BYTES} bytes")
    # A link may have changed since the path was resolved, so check where the opened file lies.
    if folder is not None and not is_inside(_path_of(file), os.path.realpath(folder)):
        raise OutsideFolder(f"lies outside {folder}")


def _path_of(file: int) -> str:
    """Return the absolute path of an open file, as the kernel knows it."""
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(file, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{file}")


def _read_bounded(file: int) -> bytes:
    """Read the whole file, and check its size again.

    The file may have grown, and the reported size of a pseudo file means nothing.
    """
    content = b""
    while chunk := os.read(file, MAX_SECRET_BYTES + 1 - len(content)):
        content += chunk
        if len(content) > MAX_SECRET_BYTES:
            raise SecretFileFault(f"is larger than {MAX_SECRET_BYTES} bytes")
    return content


def _unreadable(error: OSError) -> SecretFileFault:
    if error.errno == errno.ENXIO:  # a socket, or a device that does not exist
        return SecretFileFault("is not a regular file")
    return SecretFileFault(f"cannot be read: {error.strerror}")
