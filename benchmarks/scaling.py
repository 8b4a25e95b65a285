"""`python -m benchmarks.scaling PART`: how costs grow. docs/scaling.md quotes the figures.

The figures are of one machine and show orders of magnitude; ratios within a run say more. The best
of several is printed first, because other work on a machine can only slow a run down. Core time
hardly depends on that work.
"""

from __future__ import annotations

import argparse
import time
from contextlib import aclosing
from datetime import datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import trio

from actors.lanes import LANES
from benchmarks import writers
from benchmarks.place import Place, fetch, open_place
from domain.health import judge_health
from domain.resource import Resource, workspace_resource
from ports.reads import HealthQuery
from ports.sessions import VitalSigns
from runtime.assignment import Rounds, group_by_shared
from runtime.logs import configure_logging
from storage.gateway import Database, open_bridge
from storage.ingest import PostgresIngestStore
from storage.leases import PostgresLeaseStore
from storage.migrations import migrate
from storage.reads import PostgresReads
from storage.registry.store import PostgresRegistry
from storage.sessions import PostgresSessionStore
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ports.sessions import SessionStart
    from storage.gateway import Connection

TTL_SECONDS = 600.0
UNIT = 1_000
MIGRATED = "lastheard"  # the database that the others are copied from
SETTLE_SECONDS = 5.0
MAX_PAGE = 500


# --- Writers


async def bench_writers(place: Place, flags: argparse.Namespace) -> None:
    """Measure updates a second with 1, 2, … sessions, each with a workspace of its own.

    Then measure one session with smaller units.
    """
    dsn = await place.new_database(MIGRATED)
    async with aclosing(Database(dsn)) as database:
        await writers.prepare(database, flags.sessions, flags.devices)
    template = dsn.partition("?")[0].rsplit("/", 1)[1]
    kinds = [(sessions, flags.updates, UNIT) for sessions in range(1, flags.sessions + 1)]
    kinds += [(1, flags.updates // 4, 100), (1, flags.updates // 20, 10)]
    for kind in kinds:
        costs = []
        for _ in range(flags.rounds):
            fresh = await place.new_database(template)
            sessions, updates, size = kind
            costs.append(await writers.measure(fresh, sessions, updates, flags.devices, size))
        best = min(costs, key=lambda cost: cost.seconds)
        print(f"{sessions} sessions, units of {size}: {best.describe()}")
    ((table, events),) = await fetch(fresh, EVENTS_SIZE)
    print(
        f"an event with 5 signals: {int(str(table)) / int(str(events)):.0f} bytes of table and "
        "index"
    )


EVENTS_SIZE = """
    SELECT sum(pg_total_relation_size(inhrelid))::bigint, (SELECT count(*) FROM events)
    FROM pg_inherits WHERE inhparent = 'events'::regclass"""


# --- Health


async def bench_health(place: Place, flags: argparse.Namespace) -> None:
    """Measure a page of 500 with its counts, from the store, without HTTP and without writers."""
    for devices in (500, flags.devices):
        dsn = await place.new_database(MIGRATED)
        async with aclosing(Database(dsn)) as database:
            await writers.prepare(database, 1, devices)
            await _report_once(database, devices)
            await _execute(database, "ANALYZE")
            await _time_health(PostgresReads(database), f"{devices:,} devices")


async def _time_health(reads: PostgresReads, fleet: str) -> None:
    only = frozenset([writers.workspace_of(0)])
    page = await reads.load_health(only, HealthQuery())
    await _time(
        f"{fleet}: counts and a page of {len(page.rows)}",
        lambda: reads.load_health(only, HealthQuery()),
    )
    await _time(
        f"{fleet}: counts and a page of 1", lambda: reads.load_health(only, HealthQuery(limit=1))
    )
    silent = HealthQuery(order="silence")
    await _time(f"{fleet}: the worklist's order over all", lambda: reads.load_health(None, silent))
    _time_now(
        "judging the page", lambda: [judge_health(row, page.evaluated_at) for row in page.rows]
    )


async def _report_once(database: Database, devices: int) -> None:
    """Let every device report once, with 5 signals."""
    start = await _begin(database, "shard-0")
    units = writers.make_units(0, devices, devices, UNIT)
    for number, submissions in enumerate(units, 1):
        await PostgresIngestStore(database).commit_unit(start.session, number, submissions)


async def bench_fleets(place: Place, _: argparse.Namespace) -> None:
    """Measure the counts by state of a page of workspaces, without HTTP and without writers."""
    for workspaces, devices in ((1_000, 10), (10, 10_000)):
        dsn = await place.new_database(MIGRATED)
        async with aclosing(Database(dsn)) as database:
            await writers.prepare(database, workspaces, devices)
            await _execute(database, "UPDATE device_state SET last_update_received_at = now()")
            await _execute(database, "ANALYZE")
            reads, registry = PostgresReads(database), PostgresRegistry(database)
            found = await registry.list_workspaces(workspaces=None, after=None, limit=MAX_PAGE)
            ids = [one.workspace_id for one in found]
            for limit in sorted({min(size, len(ids)) for size in (100, MAX_PAGE)}):
                page = ids[:limit]
                await _time(
                    f"{workspaces:,} workspaces of {devices:,}: counts for a page of {limit}",
                    partial(reads.count_states, page, None),
                )


# --- Leases


async def bench_leases(place: Place, flags: argparse.Namespace) -> None:
    """Measure a round and a heartbeat when one of three shards owns all workspaces."""
    async with aclosing(Database(await place.new_database(MIGRATED))) as database:
        await _execute(database, WORKSPACES.format(count=flags.workspaces))
        await _execute(database, "ANALYZE")
        sessions, leases = PostgresSessionStore(database), PostgresLeaseStore(database)
        first, second, _ = [
            (await _begin(database, name)).session for name in ("shard-0", "shard-1", "shard-2")
        ]
        all_of_them = [workspace_resource(f"w{number:05d}") for number in range(flags.workspaces)]
        one, n = all_of_them[0], f"{flags.workspaces:,}"
        await _time(f"look, {n} free", lambda: leases.look(first))
        await _time(
            f"claim {n} for the first time", lambda: leases.claim(first, all_of_them), times=1
        )
        await _execute(database, "ANALYZE leases")
        look = await leases.look(first)
        await _time(f"look, {n} owned by me", lambda: leases.look(first))
        await _time("look of another", lambda: leases.look(second))
        credentials = await leases.load_credentials()
        await _time(f"credentials of {n}", leases.load_credentials)
        groups = group_by_shared({name: credentials[name] for name in sorted(credentials)})
        _time_now(f"grouping {n}", lambda: group_by_shared(dict(credentials)))
        rounds: Rounds[Resource] = Rounds("shard-0", 15.0)
        _time_now(
            f"deciding over {n} among 3",
            lambda: rounds.decide(0.0, look.members, look.mine, look.free, groups),
        )
        await _time(
            "a heartbeat",
            lambda: sessions.beat(first, ttl_seconds=TTL_SECONDS, statistics=VitalSigns()),
        )
        await _time(f"config versions of {n}", sessions.load_config_versions)
        await _time("a workspace's configuration", lambda: sessions.load_fleet("w00000"))
        await _time("releasing one", lambda: leases.release(first, {one: look.mine[one]}), times=1)
        rest = {name: token for name, token in look.mine.items() if name != one}
        await _time(f"releasing {n} at once", lambda: leases.release(first, rest), times=1)


WORKSPACES = """
    WITH made AS (
        INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since)
        SELECT 'w' || to_char(n, 'FM00000'), 'Workspace ' || n, n, now()
        FROM generate_series(0, {count} - 1) AS n
        RETURNING workspace_id
    )
    INSERT INTO providers (workspace_id, provider_id, provider_type, transport, base_url,
        credential, active)
    SELECT workspace_id, 'feed', 'rfms', 'poll', 'http://127.0.0.1:9', 'file:' || workspace_id,
        false FROM made"""


# --- A shard that has nothing to collect


async def bench_shard(place: Place, flags: argparse.Namespace) -> None:
    """Measure memory and core time of a real `lastheard serve` that has nothing to collect."""
    for workspaces, devices in ((0, 0), (flags.workspaces, 0), (100, flags.devices)):
        dsn = await place.new_database(MIGRATED)
        async with aclosing(Database(dsn)) as database:
            if devices:
                await writers.prepare(database, workspaces, devices // workspaces)
            else:
                await _execute(database, WORKSPACES.format(count=workspaces))
        await _measure_shard(dsn, workspaces, devices, flags.seconds)
    _weigh_full_mailbox()


def _weigh_full_mailbox() -> None:
    """Print the memory of a full mailbox.

    It is the growth of this process's resident size when it holds as many updates as all lanes may.
    """
    updates, process = sum(lane.capacity for lane in LANES.values()), psutil.Process()
    before = process.memory_info().rss
    held = list(writers.make_units(0, updates, 10_000, UNIT))
    grown = (process.memory_info().rss - before) / 2**20
    print(f"{updates:,} updates with 5 signals, in {len(held)} units: {grown:.0f} MB")


async def _measure_shard(dsn: str, workspaces: int, devices: int, seconds: float) -> None:
    async with open_shard(dsn, key="nobody asks") as shard:
        with trio.fail_after(300):
            child = shard.child
            while len(child.events("workspace_taken_up")) < workspaces:  # noqa: ASYNC110
                await trio.sleep(1)
        await trio.sleep(SETTLE_SECONDS)
        process, backends = psutil.Process(shard.child.pid), await _backends(dsn)
        before, served = _core_seconds([process]), _core_seconds(backends)
        await trio.sleep(seconds)
        used = 100 * (_core_seconds([process]) - before) / seconds
        database_used = 100 * (_core_seconds(backends) - served) / seconds
        megabytes = process.memory_info().rss / 2**20
        taken_up = _seconds_to_take_up(shard.child.records)
    print(
        f"{workspaces:,} workspaces, {devices:,} devices: taken up within {taken_up:.1f} s, "
        f"{megabytes:.0f} MB, "
        f"{used:.1f}% of a core; its database connections {len(backends)}, {database_used:.1f}%"
    )


def _seconds_to_take_up(records: list[dict[str, Any]]) -> float:
    """Return the seconds from the session to the last workspace, by the shard's own log."""
    at = {each["event"]: datetime.fromisoformat(each["timestamp"]) for each in records}
    return (at.get("workspace_taken_up", at["session_begun"]) - at["session_begun"]).total_seconds()


async def _backends(dsn: str) -> list[psutil.Process]:
    rows = await fetch(
        dsn, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'lastheard/%'"
    )
    return [psutil.Process(int(str(pid))) for (pid,) in rows]


def _core_seconds(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes if process.is_running()]
    return float(sum(each.user + each.system for each in times))


# --- Measuring


async def _time(what: str, call: Callable[[], Awaitable[Any]], times: int = 40) -> None:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - began)
    _print(what, taken)


def _time_now(what: str, call: Callable[[], Any], times: int = 10) -> None:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    _print(what, taken)


def _print(what: str, taken: list[float]) -> None:
    spread = f" (median {1000 * median(taken):.1f})" if len(taken) > 1 else ""
    print(f"{what}: {1000 * min(taken):.1f} ms{spread}")


async def _begin(database: Database, shard_id: str) -> SessionStart:
    start = await PostgresSessionStore(database).begin_session(shard_id, ttl_seconds=TTL_SECONDS)
    assert start is not None
    return start


async def _execute(database: Database, statement: str) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute(statement)

    await database.run(work, in_transaction=False)


PARTS = {
    "writers": bench_writers,
    "health": bench_health,
    "fleets": bench_fleets,
    "leases": bench_leases,
    "shard": bench_shard,
}


async def main(flags: argparse.Namespace) -> None:
    async with open_bridge(), open_place() as place:
        await migrate(place.dsn)
        await PARTS[flags.part](place, flags)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3, help="writers: of each kind")
    parser.add_argument("--sessions", type=int, default=3, help="writers: up to so many")
    parser.add_argument("--updates", type=int, default=40_000, help="writers: of each session")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--workspaces", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=15, help="shard: how long to watch")
    arguments = parser.parse_args()
    configure_logging(level="error")
    trio.run(main, arguments)
