"""Zabbix 6.0 beside the product: values a second that it commits to PostgreSQL from trapper input.

The peer is written in C, answers before it commits and keeps no state for each device. It runs on
the benchmarks' own server, so it has the settings that the product has. 10,000 trapper items take
numbers from zabbix_sender; a run is over when every value is a committed row of `history`. Owns the
peer's configuration, its processes and its database.

Debian's zabbix-server-pgsql and zabbix-agent (which brings zabbix_sender) are installed where that
is possible; no service of them is started.
"""

from __future__ import annotations

import gzip
import random
import socket
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import trio

from benchmarks import cores
from benchmarks.place import fetch, fetch_until, name_of, run_script
from benchmarks.record import CannotBeMeasured
from benchmarks.rounds import Cost
from benchmarks.verification import NotVerified
from benchmarks.workers import WorkerFailed
from tests.debian import ProgramAbsent, obtain_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.place import Place

ITEMS: Final = 10_000
START_SECONDS: Final = 60.0
COMMIT_SECONDS: Final = 90.0
END_SECONDS: Final = 20.0
_PORTS: Final = range(20_000, 32_768)
_HOST: Final = "bench"
_FIRST_ITEM: Final = 900_001
_SCHEMA: Final = Path("/usr/share/zabbix-server-pgsql")
_SCRIPTS: Final = ("schema", "images", "data")

# Only our host is watched: without this the server polls itself.
FLEET: Final = f"""
UPDATE hosts SET status = 1 WHERE status = 0;
UPDATE items SET status = 1;
INSERT INTO hosts (hostid, host, name, status) VALUES (900001, '{_HOST}', '{_HOST}', 0);
INSERT INTO hstgrp (groupid, name, uuid) VALUES (9001, '{_HOST}', '');
INSERT INTO hosts_groups (hostgroupid, hostid, groupid) VALUES (900001, 900001, 9001);
INSERT INTO items (itemid, type, hostid, name, key_, value_type, history, trends)
SELECT 900000 + i, 2, 900001, 'k' || i, 'k[' || i || ']', 0, '90d', '0'
FROM generate_series(1, {ITEMS}) i;
INSERT INTO item_rtdata (itemid) SELECT 900000 + i FROM generate_series(1, {ITEMS}) i;
"""
# Counting costs as much as writing. So nothing is counted before the value that was sent last is
# there: $1 is its item and $2 its time.
COUNT: Final = f"""
SELECT CASE
    WHEN EXISTS (SELECT FROM history WHERE itemid = $1 AND clock = $2)
    THEN (SELECT count(*) FROM history WHERE itemid >= {_FIRST_ITEM})
    ELSE 0
END"""
# Caches large enough that no value waits for room; four writers. Newer servers than Zabbix 6.0
# names are allowed.
SETTINGS: Final = {
    "StartPollers": "1",
    "StartPollersUnreachable": "1",
    "StartPingers": "0",
    "StartDiscoverers": "0",
    "StartTrappers": "5",
    "StartDBSyncers": "4",
    "CacheSize": "128M",
    "HistoryCacheSize": "256M",
    "HistoryIndexCacheSize": "64M",
    "TrendCacheSize": "64M",
    "ValueCacheSize": "64M",
    "AllowRoot": "1",
    "AllowUnsupportedDBVersions": "1",
}


class Programs(NamedTuple):
    """The two programs of Zabbix, as installed."""

    server: Path
    sender: Path


def find_zabbix() -> Programs:
    """Return the programs; installs Debian's packages if it can. Raises CannotBeMeasured."""
    try:
        server = obtain_program("zabbix_server", "zabbix-server-pgsql")
        sender = obtain_program("zabbix_sender", "zabbix-agent")
    except ProgramAbsent as absent:
        raise CannotBeMeasured(f"nothing to compare with: {absent}") from absent
    if not (_SCHEMA / "schema.sql.gz").is_file():
        raise CannotBeMeasured(f"no schema of Zabbix in {_SCHEMA}: this is not Debian's package")
    return Programs(server, sender)


class Zabbix:
    """A running Zabbix server that knows our items."""

    def __init__(
        self, place: Place, sender: Path, pid: int, dsn: str, port: int, folder: Path
    ) -> None:
        self._place = place
        self._sender = sender
        self._pid = pid
        self._dsn = dsn
        self._port = port
        self._folder = folder
        self._runs = 0

    async def measure(self, values: int) -> Cost:
        """Send this many values; return the cost of each, from the first sent to the last commit.

        Raises NotVerified when they are not all in `history` after COMMIT_SECONDS.
        """
        await fetch(self._dsn, "TRUNCATE history")
        self._runs += 1
        path, since = self._folder / "values", int(time.time()) - 7200 + 100 * self._runs
        path.write_text(lines_of(values, since, random.Random(self._runs)))
        last = values - 1
        await self._place.checkpoint()
        own, database = cores.of_server(self._pid), self._place.core_seconds()
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, path)
            committed = await self._count(values, last % ITEMS, since + last // ITEMS)
            seconds = time.monotonic() - began
            own = cores.of_server(self._pid) - own
            database = self._place.core_seconds() - database
            nursery.cancel_scope.cancel()
        if committed != values:
            raise NotVerified(
                f"rows: Zabbix committed {committed:,} of {values:,} values in {COMMIT_SECONDS:g} s"
            )
        return Cost(values / seconds, 1e6 * own / values, 1e6 * database / values)

    async def wait_ready(self) -> None:
        """Wait until the server has committed a value of the last item. Raises WorkerFailed."""
        path, since = self._folder / "probe", int(time.time()) - 7200
        path.write_text(f"{_HOST} k[{ITEMS}] {since} 1\n")
        with trio.move_on_after(START_SECONDS):
            while not await self._send(path):  # noqa: ASYNC110 - another process
                await trio.sleep(0.5)
            if await self._count(1, ITEMS - 1, since):
                return
        raise WorkerFailed(f"Zabbix took no value within {START_SECONDS:g} s\n{self.tail()}")

    async def _count(self, wanted: int, place: int, clock: int) -> int:
        """Wait for the value of the item at this place and time, then for the wanted number."""
        item = _FIRST_ITEM + place
        return await fetch_until(self._dsn, COMMIT_SECONDS, wanted, COUNT, item, clock)

    async def _send(self, path: Path) -> bool:
        """Send the values of a file; return whether all were taken."""
        words = ["-z", "127.0.0.1", "-p", str(self._port), "-T", "-i", str(path)]
        done = await trio.run_process(
            [str(self._sender), *words], capture_stdout=True, capture_stderr=True, check=False
        )
        return done.returncode == 0

    def tail(self) -> str:
        """Return the end of what the server said, on its error stream and in its log."""
        files = [path for name in ("said", "log") if (path := self._folder / name).exists()]
        return "".join(path.read_text(errors="replace") for path in files)[-4000:]


def lines_of(values: int, since: int, chance: random.Random) -> str:
    """Return the values of all items in turn, as zabbix_sender reads them.

    The values of an item are a second apart.
    """
    return "".join(
        f"{_HOST} k[{1 + n % ITEMS}] {since + n // ITEMS} {chance.random() * 100:.2f}\n"
        for n in range(values)
    )


@asynccontextmanager
async def open_zabbix(place: Place) -> AsyncIterator[Zabbix]:
    """Run the peer on a database of its own until the end of the block. Raises CannotBeMeasured."""
    programs = await trio.to_thread.run_sync(find_zabbix)
    dsn = await _make_database(place)
    with tempfile.TemporaryDirectory(prefix="lastheard-zabbix-") as name:
        folder, port = Path(name), _free_port()
        config = folder / "zabbix.conf"
        config.write_text(configure(folder, dsn, port))
        with (folder / "said").open("wb") as said:
            process = await trio.lowlevel.open_process(
                [str(programs.server), "-f", "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            zabbix = Zabbix(place, programs.sender, process.pid, dsn, port, folder)
            await zabbix.wait_ready()
            yield zabbix
        finally:
            await _end(process)
    await place.drop_database(dsn)


async def _end(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(END_SECONDS, shield=True) as ending:
        await process.wait()
    if ending.cancelled_caught:
        process.kill()
        with trio.move_on_after(END_SECONDS, shield=True):
            await process.wait()


async def _make_database(place: Place) -> str:
    dsn = await place.new_database()
    for name in _SCRIPTS:
        await run_script(dsn, gzip.decompress((_SCHEMA / f"{name}.sql.gz").read_bytes()).decode())
    await run_script(dsn, FLEET)
    return dsn


def configure(folder: Path, dsn: str, port: int) -> str:
    """Return the server's configuration file."""
    parts = urlsplit(dsn)
    own = {
        "LogFile": folder / "log",
        "PidFile": folder / "pid",
        "SocketDir": folder,
        "DBHost": parse_qs(parts.query)["host"][0],
        "DBName": name_of(dsn),
        "DBUser": parts.username or "postgres",
        "ListenIP": "127.0.0.1",
        "ListenPort": port,
    }
    return "".join(f"{name}={value}\n" for name, value in {**own, **SETTINGS}.items())


def _free_port() -> int:
    """Return a port that is free now. Zabbix takes none above 32767."""
    for port in random.sample(_PORTS, len(_PORTS)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise WorkerFailed("no free port for Zabbix")
