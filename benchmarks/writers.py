"""Updates a second committed by several sessions at once, each a process with its own workspace.

Owns the writers and the measurement of their cost: wall time, core time on both sides, log written.
They call the ingest store directly, without mailbox and sockets. Before a run counts, it is
verified that every update is one event. `python -m benchmarks.writers DSN NUMBER UPDATES DEVICES
SIZE` is one writer; benchmarks/scaling.py starts them.
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

from benchmarks import cores
from benchmarks.place import count_written, fetch
from benchmarks.verification import NotVerified
from domain.model import CanonicalUpdate, Ownership, Policy, ProviderConnection, Reading, Submission
from domain.position import pair_positions
from domain.registry import DeviceDraft
from domain.resource import workspace_resource
from runtime import garbage
from storage.gateway import Database, open_bridge
from storage.ingest import PostgresIngestStore
from storage.registry.store import PostgresRegistry
from storage.sessions import PostgresSessionStore
from storage.upkeep import PostgresUpkeepStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROVIDER = "feed"
SIGNALS = ("soc_percent", "odometer_km", "speed_kmh", "latitude_deg", "longitude_deg")
BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)
SUBMISSION_UPDATES = 500
PATIENCE_SECONDS = 120.0
# The process id of a child that lives as long as the postmaster, and the log written so far.
SERVER = """SELECT (SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'),
                   (pg_current_wal_lsn() - '0/0')::bigint"""


class Cost(NamedTuple):
    """The cost of one run.

    Updates and wall seconds, core seconds of all writers and of PostgreSQL, bytes of log written.
    """

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
            f"{1000 * self.database_cores / thousands:.0f} ms, log "
            f"{self.log_bytes / thousands / 1024:,.0f} kB"
        )


async def prepare(database: Database, workspaces: int, devices: int) -> None:
    """Make workspaces of `devices` devices each, and the partitions for their events."""
    names = [device_of(each) for each in range(devices)]
    await prepare_fleets(database, {workspace_of(each): names for each in range(workspaces)})


async def prepare_fleets(database: Database, fleets: Mapping[str, Sequence[str]]) -> None:
    """Make these workspaces with their devices, and the partitions for their events."""
    registry = PostgresRegistry(database)
    await PostgresUpkeepStore(database).ensure_partitions(days_ahead=2)
    for workspace_id, names in fleets.items():
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
        for start in range(0, len(names), 1000):
            drafts = [
                DeviceDraft(name, PROVIDER, name, name, name)
                for name in names[start : start + 1000]
            ]
            await registry.put_devices(workspace_id, drafts)


def workspace_of(number: int) -> str:
    return f"fleet-{number:05d}"


def device_of(number: int) -> str:
    return f"bus-{number:05d}"


def make_units(
    number: int, updates: int, devices: int, size: int, ownership: Ownership | None = None
) -> Iterator[list[Submission]]:
    """Yield `updates` updates of workspace `number`, in units of `size`.

    Each has 5 signals, and each is news.
    """
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
    readings = pair_positions(
        [Reading(signal, (number + place) % 89 + 0.5, at) for place, signal in enumerate(SIGNALS)]
    )
    name = device_of(number % devices)
    return CanonicalUpdate(workspace_id, PROVIDER, name, name, None, readings, at, "bench")


# --- One writer


async def write(dsn: str, number: int, updates: int, devices: int, size: int) -> None:
    """Tell the parent that it is ready, wait for a line, commit, and tell times and core time."""
    async with open_bridge(), aclosing(Database(dsn, pool_size=2)) as database:
        start = await PostgresSessionStore(database).begin_session(
            f"shard-{number}", ttl_seconds=120
        )
        if start is None:
            raise NotVerified("somebody else has this shard's session")
        ownership = Ownership(workspace_resource(workspace_of(number)), *start.session, 1)
        prepared = list(make_units(number, updates, devices, size, ownership))
        store = PostgresIngestStore(database)
        garbage.freeze_and_tune()
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        began, own = time.monotonic(), time.process_time()
        for unit, submissions in enumerate(prepared, 1):
            await store.commit_unit(start.session, unit, submissions)
        told = {"began": began, "ended": time.monotonic(), "cores": time.process_time() - own}
        print(orjson.dumps(told).decode(), flush=True)
        # The connection stays open until the parent has read PostgreSQL's core time.
        await trio.to_thread.run_sync(sys.stdin.readline)


# --- Several of them


async def measure(dsn: str, writers: int, updates: int, devices: int, size: int) -> Cost:
    """Start `writers` writers, let them begin together, and return the cost.

    Each of them commits `updates` updates. Raises NotVerified.
    """
    ((pid, log_before),) = await fetch(dsn, SERVER)
    postmaster = psutil.Process(int(str(pid))).parent()
    assert postmaster is not None
    cost = await trio.to_thread.run_sync(
        _measure, dsn, writers, (updates, devices, size), postmaster
    )
    ((_, log_after),) = await fetch(dsn, SERVER)
    await verify(dsn, cost.updates)
    return cost._replace(log_bytes=int(str(log_after)) - int(str(log_before)))


def _measure(
    dsn: str, writers: int, load: tuple[int, int, int], postmaster: psutil.Process
) -> Cost:
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
        raise NotVerified(f"a writer sent {line!r} instead of {beginning!r}")
    return line


async def verify(dsn: str, updates: int) -> None:
    events, versions = await count_written(dsn)
    if events != updates or versions != updates:
        raise NotVerified(f"{updates} updates became {events} events and {versions} versions")


if __name__ == "__main__":
    trio.run(
        write, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    )
