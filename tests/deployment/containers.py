"""Working containers of the built image, run with buildah's chroot isolation.

Each has a network of its own, which has loopback only. So the image's own ports are free, whatever
this machine runs, and nothing inside can reach anything but the database's Unix socket.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENVIRONMENT: Final = {"STORAGE_DRIVER": "vfs"} | os.environ
INIT: Final = "tini"
RUN_SECONDS: Final = 120
HEALTH_SECONDS: Final = 30
# Mounted by the isolation, so not part of the image.
MOUNTED: Final = ("tmp", "proc", "sys", "dev", "run")


def buildah(*words: str) -> str:
    """Return what buildah prints. Its failure is the test's."""
    done = run(["buildah", *words])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
        timeout=RUN_SECONDS,
    )


class Container:
    """A working container of an image."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = Path(buildah("mount", name))
        config = json.loads(buildah("inspect", name))["Docker"]["config"]
        self.entrypoint: list[str] = config["Entrypoint"]
        self.command: list[str] = config["Cmd"]
        self.health_check: list[str] = config["Healthcheck"]["Test"]
        self.user_id = int(config["User"].partition(":")[0])

    def run(self, *command: str, dsn: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command behind the image's own entry point, to its end."""
        return run(self._words([*self.entrypoint, *command], dsn))

    @contextmanager
    def running(self, *command: str, dsn: str | None = None) -> Iterator[Running]:
        """Run a command until the end of the block."""
        words = self._words([*self.entrypoint, *command], dsn)
        with subprocess.Popen(
            words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=ENVIRONMENT
        ) as process:
            try:
                yield Running(self, process)
            finally:
                kill(process)

    def _words(self, command: Sequence[str], dsn: str | None) -> list[str]:
        network = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        return [*network, *self.bare_words(command, dsn)]

    def bare_words(self, command: Sequence[str], dsn: str | None = None) -> list[str]:
        """Return the command line that runs a command inside, on the caller's network."""
        options = ["--isolation", "chroot", "--network", "host"]
        options += ["--env", "LASTHEARD_SHARD_ID=image"]
        if dsn is not None:
            folder = socket_folder(dsn)
            options += ["--volume", f"{folder}:{folder}", "--env", f"LASTHEARD_DSN={dsn}"]
        return ["buildah", "run", *options, self.name, "--", *command]

    def files(self) -> dict[str, int]:
        """Return the time of the last change of every file outside what is mounted."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            if Path(folder) == self.root:
                folders[:] = [name for name in folders if name not in MOUNTED]
            for name in names:
                path = Path(folder, name)
                found[str(path.relative_to(self.root))] = path.lstat().st_mtime_ns
        return found


class Running:
    """A process of the image that runs in its container."""

    def __init__(self, container: Container, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._container = container

    def wait_for_log(self, event: str) -> Any:
        """Read the log until a record has this event. The test's timeout bounds the wait."""
        assert self.process.stderr is not None
        said: list[str] = []
        for line in self.process.stderr:
            said.append(line)
            if line.startswith("{") and json.loads(line)["event"] == event:
                return json.loads(line)
        raise AssertionError("".join(said))

    def init(self) -> psutil.Process:
        """Return the container's first process, as this machine sees it."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(each for each in children if each.name() == INIT)

    def check_health(self, test: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a health check (`CMD`, and its words) inside, as an engine would."""
        assert test[0] == "CMD", shlex.join(test)
        network = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]
        return run([*network, *self._container.bare_words(test[1:])])

    def wait_until_healthy(self, test: Sequence[str]) -> None:
        deadline = time.monotonic() + HEALTH_SECONDS
        while (checked := self.check_health(test)).returncode != 0:
            assert self.process.poll() is None, "it ended before it was healthy"
            assert time.monotonic() < deadline, checked.stderr


def kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
        process.kill()


def socket_folder(dsn: str) -> Path:
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


@contextmanager
def open_to_all(folder: Path) -> Iterator[None]:
    """Let the container's user reach the server's socket for the length of the block."""
    paths = (folder, *folder.glob(".s.PGSQL.*"))
    modes = {path: path.stat().st_mode & 0o777 for path in paths}
    for path in modes:
        path.chmod(0o777)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
