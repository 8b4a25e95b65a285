"""The image, built and run: `make test-image`. Skipped where buildah is missing; an engine is not needed.

The container runs as the image's user in a chroot of its own on this machine's network, against a real PostgreSQL.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest

from tests.architecture.source import ROOT
from tests.deployment import facts

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE: Final = "localhost/lastheard:local"
BUILD_SECONDS: Final = 600
MAX_OWN_BYTES: Final = 200 * 1024 * 1024
STORAGE: Final = {"STORAGE_DRIVER": "vfs"}
# Mounted by the isolation, so not part of the image.
MOUNTED: Final = ("tmp", "proc", "sys", "dev", "run")

pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(BUILD_SECONDS + 60),
    pytest.mark.skipif(
        os.geteuid() != 0 or not (shutil.which("buildah") and shutil.which("debootstrap")),
        reason="building the image needs root, buildah and debootstrap: "
        "apt-get install --no-install-recommends buildah debootstrap",
    ),
]


def buildah(*words: str) -> str:
    """What buildah prints; its failure is the test's."""
    done = subprocess.run(
        ["buildah", *words], capture_output=True, text=True, env=os.environ | STORAGE, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Container:
    """A working container of the image."""

    def __init__(self, name: str, dsn: str) -> None:
        self.name = name
        self.root = Path(buildah("mount", name))
        self._dsn = dsn
        config = json.loads(buildah("inspect", name))["OCIv1"]["config"]
        self.entrypoint: list[str] = config["Entrypoint"]
        self.command: list[str] = config["Cmd"]
        self.user: str = config["User"]

    def words(self, *command: str, **settings: str) -> list[str]:
        """The command line that runs `command` inside, behind the image's own entry point."""
        folder = socket_folder(self._dsn)
        variables = {"DSN": self._dsn, "SHARD_ID": "image", "HTTP_PORT": "0", "PROBE_PORT": "0", **settings}
        options = ["--isolation", "chroot", "--network", "host", "--volume", f"{folder}:{folder}"]
        for name, value in variables.items():
            options += ["--env", f"LASTHEARD_{name}={value}"]
        return ["buildah", "run", *options, self.name, "--", *self.entrypoint, *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*command), capture_output=True, text=True, env=os.environ | STORAGE, check=False, timeout=120
        )

    def files(self) -> dict[str, int]:
        """Path -> time of the last change, of every file outside what is mounted."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            if Path(folder) == self.root:
                folders[:] = [name for name in folders if name not in MOUNTED]
            for name in names:
                path = Path(folder, name)
                found[str(path.relative_to(self.root))] = path.lstat().st_mtime_ns
        return found


@pytest.fixture(scope="module")
def image() -> str:
    """What the build printed last: the image's name and size."""
    built = subprocess.run(
        [ROOT / "deploy" / "build-image"], capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
    )
    assert built.returncode == 0, built.stderr[-4000:]
    return built.stdout.strip()


@pytest.fixture
def container(image: str, empty_dsn: str) -> Iterator[Container]:
    assert IMAGE in image
    name = buildah("from", "--pull=never", IMAGE)
    try:
        with open_to_all(socket_folder(empty_dsn)):
            yield Container(name, empty_dsn)
    finally:
        buildah("rm", name)


def socket_folder(dsn: str) -> Path:
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


@contextmanager
def open_to_all(folder: Path) -> Iterator[None]:
    """Let the container's user reach the server's socket for the length of the block."""
    modes = {path: path.stat().st_mode & 0o777 for path in (folder, *folder.glob(".s.PGSQL.*"))}
    for path in modes:
        path.chmod(0o777)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def test_what_we_add_to_the_base_stays_small(container: Container) -> None:
    """The environment only: how large the base is depends on who made it."""
    files = Path(container.root, "opt", "lastheard").rglob("*")
    size = sum(path.lstat().st_size for path in files if path.is_file())
    print(f"{size / 1e6:.0f} MB of our own")
    assert 0 < size < MAX_OWN_BYTES


def test_the_settings_are_good_as_they_are(container: Container) -> None:
    checked = container.run("lastheard", "config", "check")
    assert checked.returncode == 0, checked.stderr


def test_it_migrates_serves_and_stops_as_its_user(container: Container) -> None:
    """One shard's whole life: nothing is written outside /tmp, and the stop fits into the grace period."""
    assert container.run("true").returncode == 0  # buildah's own files (hosts, resolv.conf) are there from here on
    before = container.files()

    migrated = container.run("lastheard", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    with serving(container) as (process, started):
        assert httpx.get(f"http://127.0.0.1:{started['port']}/readyz", trust_env=False, timeout=10).status_code == 200
        init = init_of(process)
        assert {each.uids().real for each in (init, *init.children(recursive=True))} == {user_id(container)}
        began = time.monotonic()
        init.terminate()
        assert process.wait(timeout=facts.shutdown_seconds()) == 0
        print(f"stopped after {time.monotonic() - began:.1f} s")

    assert container.files() == before


def user_id(container: Container) -> int:
    uid = int(container.user.partition(":")[0])
    assert uid != 0
    return uid


def init_of(process: subprocess.Popen[str]) -> psutil.Process:
    """PID 1 of the container, as this machine sees it."""
    found = [each for each in psutil.Process(process.pid).children(recursive=True) if each.name() == "tini"]
    assert found, "no init runs"
    return found[0]


@contextmanager
def serving(container: Container) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """The image's own command, until the end of the block; with its record `service_started`."""
    words = container.words(*container.command)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ | STORAGE) as process:
        try:
            yield process, wait_for_start(process)
        finally:
            end(process)


def wait_for_start(process: subprocess.Popen[str]) -> Any:
    """Read the log until the service has started. The test's own timeout bounds a service that says nothing."""
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if re.search(r'"event": ?"service_started"', line):
            return json.loads(line)
    raise AssertionError("".join(said))


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
        process.kill()
