"""Programs of Debian packages that some tests drive: found, or installed, or a clear skip.

Owns where such a program comes from. It must never start a service: a package that has one is
installed with services forbidden. `python -m tests.debian PROGRAM PACKAGE` does the same from a
command line, and prints the path.

LASTHEARD_NO_SKIP=1 turns the skip into a failure on a machine that has apt. LASTHEARD_NO_INSTALL=1
forbids installing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL_SECONDS: Final = 600.0  # a test that may install needs a timeout above this
_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT: Final = "#!/bin/sh\nexit 101\n"  # 101: no service may be started
_LOCK: Final = Path(tempfile.gettempdir()) / "lastheard-apt.lock"


class ProgramAbsent(Exception):
    """The machine does not have the program. The text says what to do."""


def find_program(name: str, package: str) -> Path:
    """Return the path of a program for a test; installs its Debian package if that is possible.

    Skips the test where the program is absent, or fails it if LASTHEARD_NO_SKIP=1 and there is apt.
    """
    try:
        return obtain_program(name, package)
    except ProgramAbsent as absent:
        if os.environ.get("LASTHEARD_NO_SKIP") == "1" and shutil.which("apt-get"):
            pytest.fail(str(absent))
        pytest.skip(str(absent))


def obtain_program(name: str, package: str) -> Path:
    """Return the path of a program; installs its package as root. Raises ProgramAbsent."""
    found = shutil.which(name)
    if found is None:
        _install(name, package)
        found = shutil.which(name)
    if found is None:
        raise ProgramAbsent(f"the package {package} is installed, but brings no program {name}")
    return Path(found)


def _install(name: str, package: str) -> None:
    remedy = f"install the Debian package {package}"
    if shutil.which("apt-get") is None:
        raise ProgramAbsent(f"no {name} on this machine, and no apt: {remedy} where there is apt")
    if os.environ.get("LASTHEARD_NO_INSTALL") == "1":
        raise ProgramAbsent(f"no {name}, and LASTHEARD_NO_INSTALL=1 forbids installing: {remedy}")
    if os.geteuid() != 0:
        raise ProgramAbsent(f"no {name}, and only root may install: {remedy}")
    with _one_at_a_time(), _services_forbidden():
        if shutil.which(name):  # another process has installed it meanwhile
            return
        # The lists of packages may be missing or old, as in a fresh container.
        failure = _apt_install(package)
        if failure is not None:
            _run_apt("update")
            failure = _apt_install(package)
    if failure is not None:
        raise ProgramAbsent(f"no {name}: apt-get could not install {package}: {failure}")


def _apt_install(package: str) -> str | None:
    return _run_apt("install", "--yes", "--no-install-recommends", package)


def _run_apt(*arguments: str) -> str | None:
    """Return the end of what apt-get said when it failed, or None. Waits INSTALL_SECONDS."""
    command = ("apt-get", "--quiet", *arguments)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {INSTALL_SECONDS:.0f} s"
    return None if done.returncode == 0 else (done.stderr or done.stdout).strip()[-500:]


@contextmanager
def _services_forbidden() -> Iterator[None]:
    """Forbid packages to start services during the block. A policy that is there stays."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_POLICY_TEXT)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one process of this machine install at a time. It waits for the others."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # its holder ends within INSTALL_SECONDS, or dies
        yield


def _main() -> int:
    try:
        print(obtain_program(*sys.argv[1:3]))
    except ProgramAbsent as absent:
        print(f"skipped: {absent}")
        return 1 if os.environ.get("LASTHEARD_NO_SKIP") == "1" and shutil.which("apt-get") else 0
    return 0


if __name__ == "__main__":
    sys.exit(_main())
