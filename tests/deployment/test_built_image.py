"""The image, built and run: `make test-image`. Skipped without buildah; no engine is needed.

The container runs as the image's user in a chroot, against a real PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.architecture.source import ROOT
from tests.deployment import facts
from tests.deployment.containers import (
    ENVIRONMENT,
    Container,
    Running,
    buildah,
    open_to_all,
    socket_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
BUILD_SECONDS: Final = 600
MAX_OWN_BYTES: Final = 200 * 1024 * 1024
# What deploy/kubernetes/lastheard.yaml requests for a shard.
MAX_IDLE_BYTES: Final = 256 * 1024 * 1024

pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(BUILD_SECONDS + 60),
    pytest.mark.skipif(
        os.geteuid() != 0 or not (shutil.which("buildah") and shutil.which("debootstrap")),
        reason="building the image needs root, buildah and debootstrap: "
        "apt-get install --no-install-recommends buildah debootstrap",
    ),
]


@pytest.fixture(scope="module")
def image() -> str:
    """Build the image; return its id."""
    began = time.monotonic()
    built = build(ROOT)
    assert built.returncode == 0, built.stderr[-4000:]
    print(f"\nbuilt in {time.monotonic() - began:.0f} s: {built.stdout.strip()}")
    return built.stdout.split()[1]


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "deploy" / "build-image"],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=BUILD_SECONDS,
    )


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    name = buildah("from", "--pull=never", image)
    try:
        yield Container(name)
    finally:
        buildah("rm", name)


@pytest.fixture
def dsn(empty_dsn: str) -> Iterator[str]:
    """A database without schema, which the container's user can reach."""
    with open_to_all(socket_folder(empty_dsn)):
        yield empty_dsn


def compose_service(name: str) -> dict[str, Any]:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    service: dict[str, Any] = yaml.safe_load(text)["services"][name]
    return service


def test_what_we_add_to_the_base_stays_small(container: Container) -> None:
    """Only the environment counts: the size of the base depends on how it was made."""
    files = (container.root / "opt" / "lastheard").rglob("*")
    size = sum(path.lstat().st_size for path in files if path.is_file())
    print(f"{size / 1e6:.0f} MB of our own")
    assert 0 < size < MAX_OWN_BYTES


def test_the_settings_are_good_as_they_are(container: Container, dsn: str) -> None:
    checked = container.run("lastheard", "config", "check", dsn=dsn)
    assert checked.returncode == 0, checked.stderr


def test_it_migrates_serves_and_stops_as_its_user(container: Container, dsn: str) -> None:
    """Nothing is written outside /tmp, and the stop fits into the grace period."""
    # buildah's own files (hosts, resolv.conf) are there from the first run on.
    assert container.run("true").returncode == 0
    before = container.files()

    migrated = container.run("lastheard", "migrate", dsn=dsn)
    assert migrated.returncode == 0, migrated.stderr
    with container.running(*container.command, dsn=dsn) as shard:
        started = shard.wait_for_log("service_started")
        assert started["port"] == facts.HTTP_PORT
        assert_healthy(shard, container)
        assert_runs_as(shard, container.user_id)
        assert_idle_memory(shard)
        began = time.monotonic()
        shard.init().terminate()
        assert shard.process.wait(timeout=facts.shutdown_seconds()) == 0
        print(f"stopped after {time.monotonic() - began:.1f} s")

    assert container.files() == before


def assert_healthy(shard: Running, container: Container) -> None:
    """Run the image's own health check and the one of compose.yaml, on the port for probes."""
    for test in (container.health_check, compose_service("shard-1")["healthcheck"]["test"]):
        assert str(facts.PROBE_PORT) in test[-1]
        checked = shard.check_health(test)
        assert checked.returncode == 0, checked.stderr


def assert_runs_as(shard: Running, user_id: int) -> None:
    assert user_id != 0
    init = shard.init()
    assert {each.uids().real for each in (init, *init.children(recursive=True))} == {user_id}


def assert_idle_memory(shard: Running) -> None:
    memory = sum(each.memory_info().rss for each in shard.init().children(recursive=True))
    print(f"{memory / 1e6:.0f} MB of memory for an idle shard")
    assert 0 < memory < MAX_IDLE_BYTES


def test_the_health_check_fails_when_nobody_answers(container: Container) -> None:
    with container.running("sleep", "60") as other:
        while not other.process.poll() and not has_network_of_its_own(other):
            time.sleep(0.05)
        assert other.check_health(container.health_check).returncode != 0


def has_network_of_its_own(running: Running) -> bool:
    """Whether `unshare` has done its work; before, the process is on this machine's network."""
    return os.readlink(f"/proc/{running.process.pid}/ns/net") != os.readlink("/proc/self/ns/net")


def test_it_runs_the_simulator_of_the_compose_file(container: Container) -> None:
    service = compose_service("simulator")
    with container.running(*service["command"]) as simulator:
        while not has_network_of_its_own(simulator):
            time.sleep(0.05)
        simulator.wait_until_healthy(service["healthcheck"]["test"])


def test_a_failed_build_names_the_reason_and_leaves_nothing(tmp_path: Path, image: str) -> None:
    """The folder has the Dockerfile and nothing that it copies."""
    (tmp_path / "deploy").mkdir()
    for name in ("Dockerfile", "deploy/build-image"):
        shutil.copy(ROOT / name, tmp_path / name)
    failed = build(tmp_path)
    assert failed.returncode not in (0, 69)
    assert "requirements/runtime.txt" in failed.stderr
    assert "could not build the image" in failed.stderr.splitlines()[-1]
    assert working_containers() == ""
    assert buildah("images", "--quiet", "--no-trunc", "localhost/lastheard:local") != ""


def test_an_interrupted_build_leaves_nothing(image: str) -> None:
    words = ["env", "--default-signal=INT", str(ROOT / "deploy" / "build-image")]
    with subprocess.Popen(
        words, start_new_session=True, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as building:
        assert building.stderr is not None
        assert any("STEP 3/" in line for line in building.stderr)
        assert working_containers() != ""
        os.killpg(building.pid, signal.SIGINT)
        rest = building.stderr.read()
        assert building.wait(timeout=60) == 130, rest
    assert working_containers() == ""


def working_containers() -> str:
    """Return the containers that builds on the base work in, one id a line."""
    return buildah("containers", "--quiet", "--filter", f"ancestor={BASE}")
