"""The embedded PostgreSQL, really run: starts, crashes, foreign processes and cancellations."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import asyncpg
import orjson
import psutil
import pytest
import trio
from structlog.testing import LogCapture

from storage.embedded import EmbeddedPostgres, EmbeddedUnavailable, open_embedded
from storage.embedded.files import FolderLock
from storage.embedded.owner import choose_owner
from tests.postgres import running_postgres
from tests.storage.embedded.cast import (
    PATIENCE_SECONDS,
    events,
    mode_of,
    processes_of,
    query,
    running,
    server_on,
    until_logged,
)

pytestmark = pytest.mark.postgres

CANCEL_AFTER_SECONDS: Final = (0.0, 0.01, 0.03, 0.1, 0.25, 0.4, 0.5, 0.6)


def kill_cluster(pid: int) -> None:
    """What the end of a container does: postmaster and backends at one blow."""
    postmaster = psutil.Process(pid)
    for process in (postmaster, *postmaster.children()):
        process.kill()


# Start and stop


async def test_a_first_start_makes_a_database_and_a_stop_ends_it(empty_dir: Path) -> None:
    async with running(server_on(empty_dir)) as server:
        assert await query(server, "SELECT current_database()") == ["lastheard"]
        assert await query(server, "SHOW server_encoding") == ["UTF8"]
        assert await query(
            server, "SELECT DISTINCT datlocprovider::text || datlocale FROM pg_database"
        ) == ["bC.UTF-8"]
    assert processes_of(empty_dir) == []


async def test_clients_reach_it_by_its_dsn_in_any_environment(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")

    async def who(dsn: str) -> str:
        connection = await asyncpg.connect(dsn, timeout=5)
        try:
            return str(
                await connection.fetchval("SELECT current_user || '@' || current_database()")
            )
        finally:
            await connection.close()

    async with running(server_on(data_dir)) as server:
        assert await trio.to_thread.run_sync(asyncio.run, who(server.dsn)) == "postgres@lastheard"


async def test_a_real_server_is_durable_and_closed_to_the_network(data_dir: Path) -> None:
    async with open_embedded(data_dir) as server:
        socket = Path(str(server.statistics().socket))
        rows = [
            await query(server, f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "listen_addresses")
        ]
        assert rows == [["on"], ["on"], [""]]
        assert (mode_of(socket), mode_of(socket.parent)) == (0o700, 0o700)
        assert not psutil.Process(server.pid).net_connections("inet")


async def test_the_server_lives_in_a_process_session_of_its_own(data_dir: Path) -> None:
    async with running(server_on(data_dir)) as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_statistics_are_plain_json(data_dir: Path) -> None:
    async with running(server_on(data_dir)) as server:
        shown = orjson.loads(orjson.dumps(server.statistics()))
        assert (shown["running"], shown["pid"], shown["starts"], shown["adopted"]) == (
            True,
            server.pid,
            1,
            False,
        )
    assert (server.statistics().running, server.statistics().pid) == (False, None)


async def test_starting_a_running_server_changes_nothing(data_dir: Path) -> None:
    async with running(server_on(data_dir)) as server:
        before = server.pid
        await server.start()
        assert (server.pid, server.statistics().starts) == (before, 1)


async def test_a_server_that_ignores_every_request_to_stop_is_killed(
    data_dir: Path, log: LogCapture
) -> None:
    server = server_on(data_dir, log, stop_budget_seconds=1.0)
    await server.start()
    os.kill(server.pid, signal.SIGSTOP)
    await server.stop()
    assert log.entries[-1] == {
        "event": "embedded_postgresql_stopped",
        "how": "killed",
        "pid": log.entries[-1]["pid"],
        "log_level": "info",
    }
    assert processes_of(data_dir) == []


# One server, one starter


async def test_a_second_starter_is_told_who_holds_the_folder(data_dir: Path) -> None:
    async with running(server_on(data_dir)) as first:
        second = server_on(data_dir)
        with pytest.raises(
            EmbeddedUnavailable, match=rf"process {os.getpid()}\).*LASTHEARD_DSN"
        ) as refusal:
            await second.start()
        await second.stop()
        assert refusal.value.permanent
        assert await first.is_alive()


async def test_after_our_own_crash_the_server_is_adopted_then_stopped(
    data_dir: Path, log: LogCapture
) -> None:
    orphan = await crash_after_start(data_dir)
    async with running(server_on(data_dir, log)) as server:
        assert (server.pid, server.statistics().adopted) == (orphan, True)
        assert await query(server, "SELECT 1") == ["1"]
    assert "embedded_postgresql_adopted" in events(log)
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE


async def test_a_live_server_that_does_not_answer_yet_is_waited_for(
    data_dir: Path, log: LogCapture
) -> None:
    orphan = await crash_after_start(data_dir)
    os.kill(orphan, signal.SIGSTOP)
    server = server_on(data_dir, log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.start)
        await until_logged(log, "embedded_postgresql_adopted")
        os.kill(orphan, signal.SIGCONT)
    assert server.pid == orphan
    await server.stop()


async def test_a_start_that_runs_out_of_time_says_what_it_waited_for(data_dir: Path) -> None:
    orphan = await crash_after_start(data_dir)
    os.kill(orphan, signal.SIGSTOP)
    server = server_on(data_dir, start_budget_seconds=0.5, stop_budget_seconds=1.0)
    with pytest.raises(EmbeddedUnavailable, match=r"did not answer within 0\.5 s"):
        await server.start()
    await server.stop()
    assert processes_of(data_dir) == []


async def crash_after_start(data_dir: Path) -> int:
    """Start a server in another process and kill that process; returns the orphan's process id."""
    script = (
        "import os, signal, sys, trio; from pathlib import Path\n"
        "from storage.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]))\n"
        "trio.run(server.start); print(server.pid, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", script, str(data_dir)]
    with trio.fail_after(PATIENCE_SECONDS):
        crashed = await trio.run_process(command, capture_stdout=True, check=False)
    assert crashed.returncode == -signal.SIGKILL
    return int(crashed.stdout.split()[-1])


# Crashes (T4)


async def test_a_crashed_server_restarts_with_every_acknowledged_row(
    data_dir: Path,
) -> None:
    async with open_embedded(data_dir) as server, trio.open_nursery() as nursery:
        nursery.start_soon(keep_running, server)
        await query(server, "CREATE TABLE acknowledged (n int PRIMARY KEY)")
        crashed = server.pid
        some_written = threading.Event()
        acknowledged: list[int] = []

        async def kill_in_the_middle() -> None:
            await trio.to_thread.run_sync(some_written.wait, PATIENCE_SECONDS)
            kill_cluster(crashed)

        nursery.start_soon(kill_in_the_middle)
        await trio.to_thread.run_sync(
            asyncio.run, write_until_the_end(server.dsn, acknowledged, some_written)
        )
        await until_started_again(server)
        rows = await query(server, "SELECT n FROM acknowledged ORDER BY n")
        assert len(acknowledged) >= 50
        assert [int(str(row)) for row in rows[: len(acknowledged)]] == acknowledged
        assert server.pid != crashed
        nursery.cancel_scope.cancel()


async def keep_running(server: EmbeddedPostgres) -> None:
    while True:
        await server.run_until_it_dies()


async def write_until_the_end(
    dsn: str, acknowledged: list[int], some_written: threading.Event
) -> None:
    connection = await asyncpg.connect(dsn, timeout=5, command_timeout=5)
    try:
        for n in range(1_000_000):
            await connection.execute("INSERT INTO acknowledged VALUES ($1)", n)
            acknowledged.append(n)
            if n == 50:
                some_written.set()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        connection.terminate()


async def until_started_again(server: EmbeddedPostgres) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while server.statistics().starts != 2:  # noqa: ASYNC110 the server offers no event
            await trio.sleep(0.01)


# Stale pid files (T5)


@pytest.fixture(params=["a living process", "a zombie", "nobody", "no number"])
def stranger(request: pytest.FixtureRequest) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A foreign process of the user that PostgreSQL runs as.

    PostgreSQL's own check would take it for a living server.
    """
    owner = choose_owner()
    program = "exec sleep 300" if request.param == "a living process" else "exit 0"
    command = ["/bin/sh", "-c", program]
    with subprocess.Popen(command, user=owner.uid, group=owner.gid, extra_groups=[]) as process:
        if request.param in ("nobody", "no number"):
            process.wait()
        yield request.param, process
        process.kill()


async def test_a_stale_pid_file_harms_no_start_and_no_other_process(
    data_dir: Path, stranger: tuple[str, subprocess.Popen[bytes]]
) -> None:
    kind, process = stranger
    leave_pid_file(data_dir, "garbage" if kind == "no number" else str(process.pid))
    async with running(server_on(data_dir)) as server:
        assert server.pid != process.pid
        assert server.statistics().adopted is False
        assert await query(server, "SELECT 1") == ["1"]
    assert (process.poll() is None) == (kind == "a living process")


async def test_a_pid_file_with_another_folders_server_harms_neither(
    data_dir: Path,
) -> None:
    async with running(server_on(data_dir / "other")) as other:
        leave_pid_file(data_dir, str(other.pid))
        async with running(server_on(data_dir)) as server:
            assert server.pid != other.pid
            assert await query(server, "SHOW data_directory") == [
                str(data_dir / "postgres" / "cluster")
            ]
        assert await other.is_alive()


def leave_pid_file(data_dir: Path, claimed: str) -> None:
    """Leave what a killed server leaves: its pid file and the lock of its socket.

    Both hold a process id that is another process's now.
    """
    home = data_dir / "postgres"
    (home / "cluster" / "postmaster.pid").write_text(
        f"{claimed}\n{home}/cluster\n1700000000\n5432\n{home}\n\n  16777343         1\nready   \n"
    )
    (home / ".s.PGSQL.5432.lock").write_text(f"{claimed}\n{home}/cluster\n1700000000\n5432\n")
    for name in ("cluster/postmaster.pid", ".s.PGSQL.5432.lock"):
        shutil.chown(home / name, *(lambda info: (info.st_uid, info.st_gid))(home.stat()))


async def test_a_server_whose_pid_file_is_lost_ends_before_the_next(
    data_dir: Path, log: LogCapture
) -> None:
    orphan = await crash_after_start(data_dir)
    leave_pid_file(data_dir, str(os.getppid()))
    async with running(server_on(data_dir, log)) as server:
        assert server.pid != orphan
        workers = [process.pid for process in processes_of(data_dir)]
        assert orphan not in workers
    assert "embedded_postgresql_orphans_ended" in events(log)


# Cancellation


async def test_a_cancelled_start_leaves_no_process_or_partial_cluster(
    empty_dir: Path,
) -> None:
    for instant in CANCEL_AFTER_SECONDS:
        with trio.move_on_after(instant):
            async with running(server_on(empty_dir)):
                await trio.sleep_forever()
        assert processes_of(empty_dir) == [], instant
        home = empty_dir / "postgres"
        assert not list(home.glob("*.new"))
        assert not (home / "cluster").exists() or (home / "cluster" / "PG_VERSION").exists()
    async with running(server_on(empty_dir)) as server:
        assert await query(server, "SELECT 1") == ["1"]


async def test_a_stop_cannot_be_cancelled(data_dir: Path, log: LogCapture) -> None:
    server = server_on(data_dir, log)
    await server.start()
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.stop()
    assert events(log)[-1] == "embedded_postgresql_stopped"
    lock = FolderLock(data_dir)
    lock.acquire()
    lock.release()


# The server of a test run


def test_what_a_killed_test_run_left_behind_is_ended_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LASTHEARD_TEST_DSN", raising=False)
    script = (
        "import os, signal; from tests.postgres import running_postgres\n"
        "with running_postgres() as dsn:\n"
        "    print(dsn, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, timeout=PATIENCE_SECONDS
    )
    home = Path(parse_qs(urlsplit(killed.stdout.split()[-1].decode()).query)["host"][0])
    assert processes_of(home)
    with running_postgres() as dsn:
        assert dsn.encode() not in killed.stdout
        assert processes_of(home) == []
    assert not home.parent.exists()
