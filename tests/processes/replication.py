"""Two real PostgreSQL servers, one following the other, and the steps of an operator's failover.

Owns both servers, their folders and ports, and the link between them. A test can freeze the link,
so that the standby falls behind. Promotion waits, as an operator must, until no process of the old
primary lives or writes. It is built from parts of the embedded server. These two listen on loopback
without a password, for the seconds of a test.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import psutil
import structlog
import trio

from storage.embedded.binaries import find_wheel_binaries
from storage.embedded.commands import SETTINGS, make_cluster, postgres_command
from storage.embedded.files import SHELTER, FolderLock, prepare_premises
from storage.embedded.probe import NoAnswer, ask
from storage.embedded.process import Postmaster, end_orphans, start_postmaster
from storage.embedded.server import DATABASE
from storage.migrations import migrate
from tests.postgres import public_folder
from tests.processes.database_proxy import DatabaseProxy, open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from signal import Signals

    from storage.embedded.binaries import Binaries

# The folder has the prefix and the lock file of tests/postgres.py. So the next run ends the servers
# of a run that was killed.
_PREFIX: Final = "lastheard-run-pair-"
_HOST: Final = "127.0.0.1"
_BUDGET_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 10.0
# No fsync: data that was written survives a killed process, and no test kills the machine.
_SERVER: Final[Mapping[str, str]] = {
    **SETTINGS,
    "fsync": "off",
    "synchronous_commit": "on",
    "wal_level": "replica",
}
_LOG_SHOWN: Final = 2000


class Server:
    """One cluster and its postmaster. Shards reach it over TCP, the test over its socket."""

    def __init__(self, folder: Path, port: int, binaries: Binaries | None = None) -> None:
        self.port: Final = port
        self._log = folder / "postgres.log"
        self.place: Final = prepare_premises(folder, shelter=SHELTER, binaries=binaries)
        self._postmaster: Postmaster | None = None
        self._silent: list[psutil.Process] = []

    @property
    def dsn(self) -> str:
        """The DSN of this server alone, in either role."""
        return f"postgresql://postgres@{_HOST}:{self.port}/{DATABASE}"

    async def start(self, **settings: str) -> None:
        """Start it in the role that its cluster has. Returns when it answers."""
        ours = {**_SERVER, "port": str(self.port), "listen_addresses": _HOST, **settings}
        with self._log.open("ab") as output:
            self._postmaster = await start_postmaster(
                postgres_command(self.place, ours), self.place, output
            )
        await self.wait_for("SELECT 1", "1")

    async def ask(self, question: str, database: str = "postgres") -> str | None:
        """Return the first column of the first row, or None without a row."""
        path = self.place.sockets / f".s.PGSQL.{self.port}"
        rows = await ask(path, question, database=database, timeout_seconds=_BUDGET_SECONDS)
        return rows[0] if rows else None

    async def wait_for(self, question: str, answer: str, database: str = "postgres") -> None:
        """Ask until the answer is the wanted one."""
        said: str | None = None
        with trio.move_on_after(_BUDGET_SECONDS):
            while said != answer:
                try:
                    said = await self.ask(question, database)
                except NoAnswer as refusal:
                    said = str(refusal)
                await trio.sleep(0 if said == answer else _POLL_SECONDS)
            return
        raise AssertionError(
            f"{question}: {said}, not {answer}\n{self._log.read_text()[-_LOG_SHOWN:]}"
        )

    async def now(self) -> datetime:
        return datetime.fromisoformat(str(await self.ask("SELECT clock_timestamp()")))

    async def change(self, name: str, value: str) -> None:
        """Change a setting, for open sessions too."""
        await self.ask(f"ALTER SYSTEM SET {name} = '{value}'")
        await self.ask("SELECT pg_reload_conf()")
        await self.wait_for(f"SHOW {name}", value)

    async def kill(self, number: Signals) -> None:
        """Send this signal to its postmaster. Returns when all of its processes have ended."""
        assert self._postmaster is not None
        os.kill(self._postmaster.pid, number)
        with trio.fail_after(_BUDGET_SECONDS):
            await self._postmaster.wait()
            await end_orphans(self.place.cluster)

    async def fall_silent(self) -> None:
        """Pause all processes, as if the machine lost power: connections stay open and silent."""
        assert self._postmaster is not None
        postmaster = psutil.Process(self._postmaster.pid)
        self._silent = [postmaster, *postmaster.children()]
        for process in self._silent:
            process.suspend()
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Stop it in order, or kill it. Does nothing if it does not run."""
        with trio.CancelScope(shield=True):
            for process in self._silent:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            if self._postmaster is not None:
                await self._postmaster.stop(_STOP_SECONDS)

    async def copy(self, port: int) -> None:
        """Become a standby of the server on this port, as of now."""
        program = str(find_wheel_binaries().folder / "pg_basebackup")
        source = f"host={_HOST} port={port} user=postgres"
        options = ("--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync")
        with trio.fail_after(_BUDGET_SECONDS):
            await trio.run_process(
                [program, f"--dbname={source}", f"--pgdata={self.place.cluster}", *options],
                env={"LC_ALL": "C"},
                stderr=subprocess.STDOUT,
                capture_stdout=True,
            )
        await self._give_to_owner()

    async def start_following(self, port: int) -> None:
        """Start as a standby of the server on this port, with the data in the cluster."""
        (self.place.cluster / "standby.signal").touch()
        await self._give_to_owner()
        await self.start(primary_conninfo=f"host={_HOST} port={port} user=postgres")

    async def _give_to_owner(self) -> None:
        """Change the owner. pg_basebackup runs as our user, but a server must own its cluster."""
        for path in (self.place.cluster, *self.place.cluster.rglob("*")):
            os.chown(path, self.place.owner.uid, self.place.owner.gid, follow_symlinks=False)
        await trio.lowlevel.checkpoint()


class Pair:
    """A primary and its standby, and the link over which the standby follows."""

    def __init__(self, primary: Server, standby: Server, link: DatabaseProxy) -> None:
        self.primary = primary
        self.standby = standby
        self.link = link

    async def make_synchronous(self) -> None:
        """From now on COMMIT is answered only when the standby has it on disk."""
        await self.primary.change("synchronous_standby_names", "*")
        await self.primary.wait_for("SELECT sync_state FROM pg_stat_replication", "sync")

    async def wait_caught_up(self) -> None:
        """Wait until the standby shows everything that the primary has written so far."""
        written = await self.primary.ask("SELECT pg_current_wal_lsn()")
        await self.standby.wait_for(f"SELECT pg_last_wal_replay_lsn() >= '{written}'", "t")

    async def promote(self) -> None:
        """Promote the standby, as `pg_ctl promote` does. Returns when it takes writes."""
        assert await self.standby.ask(f"SELECT pg_promote(true, {_BUDGET_SECONDS:.0f})") == "t"


def dsn_of(*servers: Server) -> str:
    """Return a DSN with both hosts, for a shard that has to find the one that takes writes."""
    hosts = ",".join(f"{_HOST}:{server.port}" for server in servers)
    return f"postgresql://postgres@{hosts}/{DATABASE}?target_session_attrs=read-write"


@asynccontextmanager
async def open_pair() -> AsyncIterator[Pair]:
    """Open a migrated primary and an asynchronous standby that has caught up.

    Both are deleted at the end of the block.
    """
    async with AsyncExitStack() as stack:
        primary, standby = [
            await stack.enter_async_context(open_server(port)) for port in find_free_ports(2)
        ]
        await make_cluster(primary.place, _SERVER, structlog.get_logger("pair"))
        await primary.start()
        await primary.ask(f"CREATE DATABASE {DATABASE}")
        await migrate(primary.dsn)
        link = await stack.enter_async_context(open_proxy(primary.dsn))
        await standby.copy(urlsplit(link.dsn).port or 0)
        await standby.start()
        pair = Pair(primary, standby, link)
        await pair.wait_caught_up()
        yield pair


@asynccontextmanager
async def open_server(port: int, binaries: Binaries | None = None) -> AsyncIterator[Server]:
    """Give a server in a folder of its own, not started. It is stopped at the end of the block."""
    with public_folder(_PREFIX) as folder:
        lock = FolderLock(folder)
        lock.acquire()
        server = await trio.to_thread.run_sync(partial(Server, folder, port, binaries))
        try:
            yield server
        finally:
            await server.stop()
            lock.release()


def find_free_ports(count: int) -> list[int]:
    """Find free ports, because PostgreSQL cannot choose one.

    If another process takes one first, the start fails and says so.
    """
    with_sockets = [socket.create_server((_HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in with_sockets]
    for each in with_sockets:
        each.close()
    return ports
