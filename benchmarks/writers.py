"""Updates committed a second by several sessions at once, each a process of its own with workspaces of its own.

Owns the writers and what they cost: wall time, core time on both sides, log written. Nothing but the ingest store is
in the way: no mailbox, no sockets. Verified before it counts: every update is one event.
`python -m benchmarks.writers DSN NUMBER UPDATES DEVICES SIZE` is one writer; benchmarks/scaling.py starts them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import orjson
import psutil
import trio

from api.ports import DeviceDraft
from benchmarks import cores
from benchmarks.place import count_written, fetch
from benchmarks.verification import NotVerified
from domain.model import CanonicalUpdate, Ownership, Policy, ProviderConnection, Reading, Submission
from runtime import garbage
from storage.gateway import Database, open_bridge
from storage.ingest import PostgresIngestStore
from storage.registry import PostgresRegistry
from storage.sessions import PostgresSessionStore
from storage.upkeep import PostgresUpkeepStore

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDER = "feed"
SIGNALS = ("soc_percent", "odometer_km", "speed_kmh", "latitude_deg", "longitude_deg")
BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)
SUBMISSION_UPDATES = 500
PATIENCE_SECONDS = 120.0
# A child of the postmaster that lives as long as it does, and how much log was written so far.
SERVER = """SELECT (SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'),
                   (pg_current_wal_lsn() - '0/0')::bigint"""


class Cost(NamedTuple):
    """Of one run: updates and wall seconds, core seconds of all writers and of PostgreSQL, bytes of log written."""

    updates: int
    seconds: float
    writer_cores: float
    database_cores: float
    log_bytes: int

    def describe(self) -> str:
        thousands = self.updates / 1000
        return (
            f"{self.updates / self.seconds:,.0f} updates/s; for each 1,000 updates: writers "
            f"{1000 * self.writer_cores / thousands:.0f} ms of a core, PostgreSQL "
            f"{1000 * self.database_cores / thousands:.0f} ms, log {self.log_bytes / thousands / 1024:,.0f} kB"
        )


async def prepare(database: Database, workspaces: int, devices: int) -> None:
    """Workspaces of so many devices each, and partitions for what they will report."""
    registry = PostgresRegistry(database)
    await PostgresUpkeepStore(database).ensure_partitions(days_ahead=2)
    for number in range(workspaces):
        workspace_id = workspace_of(number)
        await registry.put_workspace(
            workspace_id, name=workspace_id, active=True, poll_interval_seconds=300, policy=Policy()
        )
        await registry.put_provider(
            ProviderConnection(
                workspace_id,
                PROVIDER,
                "viriciti",
                "stream",
                "http://127.0.0.1:9",
                None,
                active=False,
            )
        )
        names = [device_of(each) for each in range(devices)]
        for start in range(0, devices, 1000):
            drafts = [DeviceDraft(name, PROVIDER, name, name, name) for name in names[start : start + 1000]]
            await registry.put_devices(workspace_id, drafts)


def workspace_of(number: int) -> str:
    return f"fleet-{number:05d}"


def device_of(number: int) -> str:
    return f"bus-{number:05d}"


def make_units(
    number: int, updates: int, devices: int, size: int, ownership: Ownership | None = None
) -> Iterator[list[Submission]]:
    """So many updates of workspace `number`, with 5 signals each and every one of them news, in units of `size`."""
    for start in range(0, updates, size):
        parts = range(start, min(start + size, updates), SUBMISSION_UPDATES)
        yield [
            Submission(
                origin="stream",
                trace_id=f"bench-{first}",
                updates=tuple(
                    _update(workspace_of(number), each, devices)
                    for each in range(first, min(first + SUBMISSION_UPDATES, start + size, updates))
                ),
                ownership=ownership,
            )
            for first in parts
        ]


def _update(workspace_id: str, number: int, devices: int) -> CanonicalUpdate:
    at = BEGAN_AT + timedelta(milliseconds=number)
    readings = tuple(Reading(signal, (number + place) % 89 + 0.5, at) for place, signal in enumerate(SIGNALS))
    name = device_of(number % devices)
    return CanonicalUpdate(workspace_id, PROVIDER, name, name, None, readings, at, "bench")


# --- One writer -------------------------------------------------------------------------------------------------------


async def write(dsn: str, number: int, updates: int, devices: int, size: int) -> None:
    """Say that it is ready, wait for a line, commit, and tell when it began and ended and what it cost."""
    async with open_bridge(), aclosing(Database(dsn, pool_size=2)) as database:
        start = await PostgresSessionStore(database).begin_session(f"shard-{number}", ttl_seconds=120)
        if start is None:
            raise NotVerified("somebody else has this shard's session")
        ownership = Ownership(f"workspace:{workspace_of(number)}", *start.session, 1)
        prepared = list(make_units(number, updates, devices, size, ownership))
        store = PostgresIngestStore(database)
        garbage.settle()
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        began, own = time.monotonic(), time.process_time()
        for unit, submissions in enumerate(prepared, 1):
            await store.commit_unit(start.session, unit, submissions)
        told = {"began": began, "ended": time.monotonic(), "cores": time.process_time() - own}
        print(orjson.dumps(told).decode(), flush=True)
        # Its connection is to live until PostgreSQL's share has been read.
        await trio.to_thread.run_sync(sys.stdin.readline)


# --- Several of them --------------------------------------------------------------------------------------------------


async def measure(dsn: str, writers: int, updates: int, devices: int, size: int) -> Cost:
    """Start so many writers, let them go at once, and read what it cost. `updates` are each one's."""
    ((pid, log_before),) = await fetch(dsn, SERVER)
    postmaster = psutil.Process(int(str(pid))).parent()
    assert postmaster is not None
    cost = await trio.to_thread.run_sync(_measure, dsn, writers, (updates, devices, size), postmaster)
    ((_, log_after),) = await fetch(dsn, SERVER)
    await verify(dsn, cost.updates)
    return cost._replace(log_bytes=int(str(log_after)) - int(str(log_before)))


def _measure(dsn: str, writers: int, load: tuple[int, int, int], postmaster: psutil.Process) -> Cost:
    processes = [_start(dsn, number, *load) for number in range(writers)]
    try:
        for process in processes:
            _expect(process, "ready")
        before = cores.of_server(postmaster.pid)
        for process in processes:
            _send(process)
        told = [orjson.loads(_expect(process, "{")) for process in processes]
        database_cores = cores.of_server(postmaster.pid) - before
        for process in processes:
            _send(process)
            process.wait(PATIENCE_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    seconds = max(each["ended"] for each in told) - min(each["began"] for each in told)
    return Cost(writers * load[0], seconds, sum(each["cores"] for each in told), database_cores, 0)


def _start(dsn: str, *numbers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.writers", dsn, *map(str, numbers)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _send(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def _expect(process: subprocess.Popen[bytes], beginning: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    if not line.startswith(beginning):
        raise NotVerified(f"a writer said {line!r} instead of {beginning!r}")
    return line


async def verify(dsn: str, updates: int) -> None:
    events, versions = await count_written(dsn)
    if events != updates or versions != updates:
        raise NotVerified(f"{updates} updates became {events} events and {versions} versions")


if __name__ == "__main__":
    trio.run(write, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
