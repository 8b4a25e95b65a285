"""Trees: the folders from which the product's packages are taken.

A tree holds the product's packages: those of the present checkout, of an old commit, or of a copy
with a fault in it. The benchmarks' own code is always the present one. Children find the product
through PYTHONPATH, the tree first. When a tree lacks something that the benchmarks need, one
sentence says what.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
import trio

from benchmarks.names import PACKAGES, REQUIRED
from benchmarks.workers import WorkerFailed, run_to_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).resolve().parents[1]
# The variable to which the provider connection's credential refers.
SECRET_VARIABLE = "LASTHEARD_SECRET_BENCH"  # noqa: S105 - a name


class CannotBeDriven(Exception):
    """The present benchmarks cannot run this tree, because it differs too much."""


class Tree(NamedTuple):
    """A tree of the product.

    `folder` holds the product's packages. `settings` are the names that it knows, without their
    prefix.
    """

    name: str
    folder: Path
    settings: frozenset[str] = frozenset()

    def command(self, module: str, *arguments: object) -> list[str]:
        """Return the command that runs a module in this tree.

        -P keeps the working directory off the path, so that only PYTHONPATH decides.
        """
        return [sys.executable, "-P", "-m", "benchmarks.launch", module, *map(str, arguments)]

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the machine's environment for a child that runs this tree.

        This tree's packages come first. Settings that the tree does not know are left out.
        """
        foreign = {
            name: value for name, value in os.environ.items() if not name.startswith("LASTHEARD_")
        }
        ours = {
            f"LASTHEARD_{name.upper()}": value
            for name, value in settings.items()
            if name in self.settings
        }
        path = f"{self.folder}{os.pathsep}{ROOT}"
        return {**foreign, **ours, SECRET_VARIABLE: "benchmark", "PYTHONPATH": path}


async def inspect(name: str, folder: Path) -> Tree:
    """Return a tree with the settings that it knows.

    Raises CannotBeDriven when children would run packages from elsewhere.
    """
    missing = [package for package in REQUIRED if not (folder / package).is_dir()]
    if missing:
        raise CannotBeDriven(f"{name} cannot be driven: it has no {', '.join(missing)}")
    tree = Tree(name, folder)
    try:
        told = orjson.loads(
            await run_to_end(name, tree.command("benchmarks.describe"), tree.environment())
        )
    except WorkerFailed as failure:
        last_line = str(failure).strip().splitlines()[-1]
        raise CannotBeDriven(f"{name} cannot be driven: {last_line}") from None
    elsewhere = {
        package: place for package, place in told["folders"].items() if Path(place) != folder
    }
    if elsewhere:
        raise CannotBeDriven(
            f"{name} cannot be driven: its packages would come from elsewhere: {elsewhere}"
        )
    return tree._replace(settings=frozenset(told["settings"]))


def present_folder() -> Path:
    """Return the folder of this process's product: the checkout, or a copy first on PYTHONPATH."""
    import storage

    return Path(str(storage.__file__)).parents[1]


@asynccontextmanager
async def checked_out(base: str) -> AsyncIterator[Path]:
    """Provide the packages of a commit, in a git worktree that is removed afterwards.

    The commit's own benchmarks are left out.
    """
    commit = await _git("rev-parse", "--verify", f"{base}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="lastheard-base-") as place:
        checkout, product = Path(place) / "checkout", Path(place) / "product"
        await _git("worktree", "prune")  # what a killed run left registered
        await _git("worktree", "add", "--quiet", "--detach", str(checkout), commit)
        try:
            product.mkdir()
            for name in PACKAGES:
                if (checkout / name).is_dir():
                    (product / name).symlink_to(checkout / name)
            yield product
        finally:
            with trio.CancelScope(shield=True):
                await _git("worktree", "remove", "--force", str(checkout))


async def is_same_product(base: str) -> bool:
    """Return whether the product's present files, untracked ones included, are this commit's."""
    differing = await _git("diff", "--name-only", base, "--", *PACKAGES)
    untracked = await _git("ls-files", "--others", "--exclude-standard", "--", *PACKAGES)
    return not differing and not untracked


async def describe_commit(base: str) -> str:
    return await _git("log", "-1", "--format=%h %s", base)


@contextmanager
def copied(*more: str) -> Iterator[Path]:
    """Provide a copy of the checkout's packages, to put a fault into; removed afterwards.

    `more`: names of other folders and files to copy.
    """
    with tempfile.TemporaryDirectory(prefix="lastheard-copy-") as place:
        for name in (*PACKAGES, *more):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, Path(place) / name)
        yield Path(place)


async def _git(*arguments: str) -> str:
    done = await trio.run_process(
        ["git", *arguments],
        cwd=ROOT,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise CannotBeDriven(f"git {' '.join(arguments[:2])}: {done.stderr.decode().strip()}")
    return done.stdout.decode().strip()
