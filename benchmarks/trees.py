"""Trees: where the product's packages are taken from, while the benchmarks' own code is always the
present one.

A tree is a folder that holds the product's packages: the present checkout, an old commit's, or a
copy with a fault put in. Children find the product through PYTHONPATH, the tree first. What a tree
does not have cannot be driven, and is said in one sentence.
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

from benchmarks.names import PACKAGES
from benchmarks.workers import WorkerFailed, run_to_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).resolve().parents[1]
# What the provider connection's credential refers to.
SECRET_VARIABLE = "LASTHEARD_SECRET_BENCH"  # noqa: S105 - a name


class CannotBeDriven(Exception):
    """This tree differs too much from the present one for its benchmarks."""


class Tree(NamedTuple):
    """`folder` holds the product's packages; `settings` are the names it knows, without the prefix."""

    name: str
    folder: Path
    settings: frozenset[str] = frozenset()

    def command(self, module: str, *arguments: object) -> list[str]:
        """Run a module. -P keeps the working directory off the path, so that only PYTHONPATH
        decides.
        """
        return [sys.executable, "-P", "-m", "benchmarks.launch", module, *map(str, arguments)]

    def environment(self, **settings: str) -> dict[str, str]:
        """The machine's, with this tree's packages first, and those of the settings that the tree
        knows.
        """
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("LASTHEARD_")}
        ours = {f"LASTHEARD_{name.upper()}": value for name, value in settings.items() if name in self.settings}
        path = f"{self.folder}{os.pathsep}{ROOT}"
        return {**foreign, **ours, SECRET_VARIABLE: "benchmark", "PYTHONPATH": path}


async def inspect(name: str, folder: Path) -> Tree:
    """A tree with what it says of itself. Raises CannotBeDriven when it is not the one that
    children would run.
    """
    missing = [package for package in PACKAGES if not (folder / package).is_dir()]
    if missing:
        raise CannotBeDriven(f"{name} cannot be driven: it has no {', '.join(missing)}")
    tree = Tree(name, folder)
    try:
        told = orjson.loads(await run_to_end(name, tree.command("benchmarks.describe"), tree.environment()))
    except WorkerFailed as failure:
        last_line = str(failure).strip().splitlines()[-1]
        raise CannotBeDriven(f"{name} cannot be driven: {last_line}") from None
    elsewhere = {package: place for package, place in told["folders"].items() if Path(place) != folder}
    if elsewhere:
        raise CannotBeDriven(f"{name} cannot be driven: its packages would come from elsewhere: {elsewhere}")
    return tree._replace(settings=frozenset(told["settings"]))


def present_folder() -> Path:
    """Where this very process has the product from: the checkout, or the copy that PYTHONPATH names
    first.
    """
    import storage

    return Path(str(storage.__file__)).parents[1]


@asynccontextmanager
async def checked_out(base: str) -> AsyncIterator[Path]:
    """The packages of a commit, in a git worktree that is removed afterwards; its own benchmarks
    stay out of reach.
    """
    commit = await _git("rev-parse", "--verify", f"{base}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="lastheard-base-") as place:
        checkout, product = Path(place) / "checkout", Path(place) / "product"
        await _git("worktree", "prune")  # what a killed run left registered
        await _git("worktree", "add", "--quiet", "--detach", str(checkout), commit)
        try:
            product.mkdir()
            for name in PACKAGES:
                (product / name).symlink_to(checkout / name)
            yield product
        finally:
            with trio.CancelScope(shield=True):
                await _git("worktree", "remove", "--force", str(checkout))


async def is_same_product(base: str) -> bool:
    """Whether the present files of the product are those of this commit, untracked ones included."""
    differing = await _git("diff", "--name-only", base, "--", *PACKAGES)
    untracked = await _git("ls-files", "--others", "--exclude-standard", "--", *PACKAGES)
    return not differing and not untracked


async def describe_commit(base: str) -> str:
    return await _git("log", "-1", "--format=%h %s", base)


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the checkout's packages, to put a fault into; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="lastheard-copy-") as place:
        for name in PACKAGES:
            shutil.copytree(ROOT / name, Path(place) / name)
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
