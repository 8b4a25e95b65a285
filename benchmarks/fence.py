"""`make fence`: is anything lost, doubled, out of order or late when shards are taken over?

Several shards, each a process with the units of several writers in flight, store a million updates
in one database. Meanwhile their sessions are taken over: declared dead while they write, or begun
by another process under the same name. Then the history is asked. `--updates` and `--takeovers`
make it shorter. Ends with 0 when every line holds, else with 1. It leaves no process.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import AsyncExitStack, aclosing
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from benchmarks.fence_shard import DEVICES, SHARED, SUBMISSION_UPDATES, workspaces_of
from benchmarks.names import PROVIDER
from benchmarks.place import fetch, fetch_until, open_place
from benchmarks.progress import Progress
from benchmarks.trees import inspect, present_folder
from benchmarks.verification import NotVerified
from benchmarks.workers import open_worker
from domain.model import Policy, ProviderConnection, SessionRef
from domain.registry import DeviceDraft
from ports.ingest import WRITERS
from runtime.faults import EnvironmentFault
from storage.gateway import Database, open_bridge
from storage.leases import PostgresLeaseStore
from storage.migrations import migrate
from storage.registry.store import PostgresRegistry
from storage.sessions import PostgresSessionStore
from storage.upkeep import PostgresUpkeepStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.place import Place

SHARDS: Final = ("shard-1", "shard-2", "shard-3")
UPDATES, TAKEOVERS = 1_000_000, 20
RUN_SECONDS: Final = 3600.0
PATIENCE_SECONDS: Final = 3.0  # to meet a shard with all its units in flight
TTL_SECONDS: Final = 3600.0  # of the session that declares others dead
# Of the updates sent. The rest is refused where all shards write: another shard had a newer value.
ACCEPTED_AT_LEAST: Final = 0.85

EVENTS = "SELECT count(*) FROM events"
STORED = "SELECT coalesce(sum(version), 0)::bigint FROM device_state"
EVENTS_OF = "SELECT count(*) FROM events WHERE shard_id = $1 AND epoch = $2"
EXPIRE = "UPDATE heartbeats SET expires_at = clock_timestamp() WHERE shard_id = $1 RETURNING 1"
LIVE = "SELECT epoch FROM sessions WHERE shard_id = $1 AND state = 'live'"
IN_FLIGHT = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = $1 AND backend_xid IS NOT NULL AND query NOT LIKE '%heartbeats%'
"""
# Of each device: as many events as its version says, numbered from 1 without a gap.
DOUBLE = """
    SELECT count(*) FROM (SELECT FROM events GROUP BY workspace_id, device_id, sequence
                          HAVING count(*) > 1) AS found
"""
GAPS = """
    SELECT count(*) FROM (SELECT FROM events GROUP BY workspace_id, device_id
                          HAVING max(sequence) <> count(*) OR min(sequence) <> 1) AS found
"""
VERSIONS = """
    SELECT count(*) FROM device_state s
    JOIN snapshots n USING (workspace_id, device_id)
    WHERE s.version <> n.version OR s.version <> (
        SELECT count(*) FROM events e
        WHERE e.workspace_id = s.workspace_id AND e.device_id = s.device_id)
"""
OUT_OF_ORDER = """
    SELECT count(*) FROM (
        SELECT received_at <= lag(received_at) OVER (
            PARTITION BY workspace_id, device_id ORDER BY sequence) AS is_wrong
        FROM events) AS found WHERE is_wrong
"""
EPOCH_WENT_BACK = """
    SELECT count(*) FROM (
        SELECT epoch < lag(epoch) OVER (
            PARTITION BY workspace_id, device_id ORDER BY sequence) AS is_wrong
        FROM events WHERE workspace_id <> $1) AS found WHERE is_wrong
"""


class Takeover(NamedTuple):
    """A session that is over: how many units it had in flight before, and events stored after."""

    session: SessionRef
    in_flight: int
    events: int


class Line(NamedTuple):
    """One line of the result: what must hold, and what was found."""

    what: str
    found: object
    expected: object

    @property
    def holds(self) -> bool:
        return self.found == self.expected

    def __str__(self) -> str:
        says = "holds" if self.holds else f"BROKEN, expected {self.expected}"
        return f"{self.what}: {self.found} ({says})"


async def judge(place: Place, updates: int, takeovers: int) -> list[Line]:
    """Run the shards on a new database, and return what was verified."""
    dsn = await place.new_database()
    await migrate(dsn)
    tree = await inspect("the checkout", present_folder())
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(aclosing(Database(dsn)))
        await configure(database)
        shards = []
        for name, share in zip(SHARDS, divide(updates), strict=True):
            command = tree.command("benchmarks.fence_shard", dsn, name, share)
            worker = open_worker(name, command, tree.environment())
            shards.append(await stack.enter_async_context(worker))
        for shard in shards:
            await shard.hear("ready")
        for shard in shards:
            await shard.tell("go")
        overs = await take_over_at_random(dsn, database, updates, takeovers)
        told = [await shard.hear("sent", RUN_SECONDS) for shard in shards]
        lines = await verify(dsn, told, overs)
        for shard in shards:
            await shard.tell("end")
    await place.drop_database(dsn)
    return lines


def divide(updates: int) -> list[int]:
    """Return each shard's part, in whole submissions."""
    whole = -(-updates // SUBMISSION_UPDATES)
    parts = [whole // len(SHARDS) + (n < whole % len(SHARDS)) for n in range(len(SHARDS))]
    return [SUBMISSION_UPDATES * part for part in parts]


async def configure(database: Database) -> None:
    """Make the workspaces of each shard, and the one that all share."""
    await PostgresUpkeepStore(database).ensure_partitions(days_ahead=2)
    registry = PostgresRegistry(database)
    buses = [f"bus-{number}" for number in range(DEVICES)]
    for name in [SHARED, *(each for shard in SHARDS for each in workspaces_of(shard))]:
        await registry.put_workspace(
            name, name=name, active=True, poll_interval_seconds=3600, policy=Policy()
        )
        await registry.put_provider(
            ProviderConnection(name, PROVIDER, "viriciti", "stream", "http://127.0.0.1:9", None)
        )
        await registry.put_devices(
            name, [DeviceDraft(bus, PROVIDER, bus, bus, bus) for bus in buses]
        )


async def take_over_at_random(
    dsn: str, database: Database, updates: int, takeovers: int
) -> list[Takeover]:
    """Take over sessions of random shards, spread over the run. Every other one is usurped."""
    random, progress = Random(9), Progress()
    overs: list[Takeover] = []
    sessions, leases = PostgresSessionStore(database), PostgresLeaseStore(database)
    start = await sessions.begin_session("undertaker", ttl_seconds=TTL_SECONDS)
    assert start is not None
    while len(overs) < takeovers:
        due = updates * (len(overs) + 1) // (takeovers + 1)
        await wait_stored(dsn, due)
        victim = random.choice(SHARDS)
        in_flight = await fetch_until(dsn, PATIENCE_SECONDS, WRITERS, IN_FLIGHT, victim)
        if len(overs) % 2:
            over = await usurp(dsn, sessions, victim)
        else:
            over = await declare_dead(dsn, leases, start.session, victim)
        if over is not None:
            ((events,),) = await fetch(dsn, EVENTS_OF, *over)
            overs.append(Takeover(over, in_flight, events))
            progress.tell(
                f"{due:,} updates stored, takeover {len(overs)}: {over.shard_id}, epoch"
                f" {over.epoch}, {in_flight} units in flight"
            )
    return overs


async def wait_stored(dsn: str, updates: int) -> None:
    """Wait until so many updates, less what was refused, are stored."""
    wanted = round(updates * ACCEPTED_AT_LEAST)
    if await fetch_until(dsn, RUN_SECONDS, wanted, STORED) < wanted:
        raise NotVerified(f"{wanted:,} updates were not stored within {RUN_SECONDS:g} s")


async def declare_dead(
    dsn: str, leases: PostgresLeaseStore, undertaker: SessionRef, victim: str
) -> SessionRef | None:
    """Let the victim's heartbeat expire, and declare it dead; None if it has renewed meanwhile."""
    await fetch(dsn, EXPIRE, victim)
    try:
        dead = await leases.declare_dead(undertaker)
    except EnvironmentFault:  # a lock was not given in time; as in production, try again
        return None
    return next((session for session in dead if session.shard_id == victim), None)


async def usurp(dsn: str, sessions: PostgresSessionStore, victim: str) -> SessionRef | None:
    """Begin the victim's next session, as a second process of its name does.

    Returns the session that was live; None without one.
    """
    live = await fetch(dsn, LIVE, victim)
    try:
        start = await sessions.begin_session(victim, ttl_seconds=1.0, boot_id="usurper")
    except EnvironmentFault:
        return None
    if start is None or live != [(start.session.epoch - 1,)]:
        return None
    return start.session._replace(epoch=start.session.epoch - 1)


async def verify(dsn: str, told: Sequence[Any], overs: Sequence[Takeover]) -> list[Line]:
    """Compare what the shards were told with what is stored, and with itself."""

    async def count(statement: str, *arguments: object) -> int:
        ((found,),) = await fetch(dsn, statement, *arguments)
        return int(found)

    def total(name: str) -> int:
        return sum(each[name] for each in told)

    most = max(over.in_flight for over in overs)
    late = [await count(EVENTS_OF, *over.session) - over.events for over in overs]
    refused = total("sent") - total("accepted")
    print(
        f"{total('sent'):,} updates in {total('units'):,} units; {len(overs)} takeovers, "
        f"{total('sessions')} sessions; {total('deferrals'):,} deferrals; "
        f"{refused:,} updates refused where all shards write"
    )
    return [
        Line("updates without a verdict", total("without_verdict"), 0),
        Line("refused updates of workspaces of one shard", total("own_refused"), 0),
        Line("events, against what was accepted", await count(EVENTS), total("accepted")),
        Line("sequences that were given twice", await count(DOUBLE), 0),
        Line("devices with a gap", await count(GAPS), 0),
        Line("devices whose version is not their history's", await count(VERSIONS), 0),
        Line("events out of order", await count(OUT_OF_ORDER), 0),
        Line("events of an older epoch after a newer one", await count(EPOCH_WENT_BACK, SHARED), 0),
        Line("events that a session stored when it was over", sum(late), 0),
        Line("most units in flight before a takeover", most, WRITERS),
    ]


async def main() -> int:
    """Print what was verified, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make fence", description=__doc__)
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--takeovers", type=int, default=TAKEOVERS)
    wanted = parser.parse_args()
    async with open_bridge(), open_place() as place:
        lines = await judge(place, wanted.updates, wanted.takeovers)
    for line in lines:
        print(line)
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(trio.run(main))
