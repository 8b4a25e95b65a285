"""`make bench-ledger`: a fleet of which every bus has one signal that is always refused.

Owns the load (each bus sends one update a second, with one good and one refused reading) and the
counts of what the ledger writes. The database is a real one, and its time is moved by the
benchmark: a second passes after each update of the whole fleet, however long its commit takes.
Before a figure is printed, it is verified that no refusal was lost or counted twice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

import trio

from benchmarks.place import fetch, open_place
from benchmarks.verification import NotVerified, require
from benchmarks.writers import PROVIDER, device_of, prepare, workspace_of
from domain.model import CanonicalUpdate, Ownership, Reading, Submission
from domain.refusals import RefusalCounts
from domain.resource import workspace_resource
from runtime.logs import configure_logging
from storage.faults import DatabaseAway
from storage.gateway import Database, open_bridge
from storage.ingest import PostgresIngestStore
from storage.migrations import migrate
from storage.sessions import PostgresSessionStore
from storage.upkeep import PostgresUpkeepStore
from tests.api.standing_time import FREEZE, START, DatabaseClock, FrozenDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set
    from datetime import datetime

    from domain.model import SessionRef
    from domain.refusals import RefusalKey, RefusalPlan
    from storage.gateway import Connection

UNIT = 1_000  # updates, as many as the ingest actor takes at once
SUBMISSION = 500
IMPOSSIBLE_SOC = 140.0
PLAIN_SECONDS = 3  # of the fleet without counting ahead
SETTLE_SECONDS = 2.0  # until the server has told its counts of rows
ROWS = """
    SELECT count(*), coalesce(sum(occurrences), 0)::bigint,
           (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'rejections'),
           (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'rejections')
    FROM rejections"""


class Load(NamedTuple):
    """The fleet, and for how long it sends."""

    buses: int
    seconds: int

    @property
    def updates(self) -> int:
        return self.buses * self.seconds


class WatchedCounts(RefusalCounts):
    """Counts of refusals that note what each unit wrote, by the second of the database."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: Counter[int] = Counter()
        self.rows: Counter[int] = Counter()
        self.told = 0  # rows in all, those at the end of the run too

    def stage(self, plan: RefusalPlan, written: Set[RefusalKey]) -> None:
        """Note the rows, then stage the plan."""
        second = int((plan.at - START).total_seconds())
        self.statements[second] += bool(plan.rows)
        self.rows[second] += len(written)
        self.told += len(written)
        super().stage(plan, written)


async def run(load: Load) -> None:
    """Run the fleet twice, each time in a database of its own, and print what it wrote."""
    async with open_bridge(), open_place() as place:
        await migrate(place.dsn)
        print(f"{load.buses:,} buses, one refused reading a second each")
        plain = Load(load.buses, min(load.seconds, PLAIN_SECONDS))
        dsn = await place.new_database("lastheard")
        await _send(dsn, plain, None)
        ((_, _, new, again),) = await fetch(dsn, ROWS)
        print(
            f"each refusal written: {(_int(new) + _int(again)) / plain.seconds:,.0f} rows a second"
        )
        dsn, counts = await place.new_database("lastheard"), WatchedCounts()
        took = await _send(dsn, load, counts)
        require(find_faults(load, counts, tuple(map(_int, (await fetch(dsn, ROWS))[0]))))
        _print(load, counts, took)


async def _send(dsn: str, load: Load, counts: WatchedCounts | None) -> float:
    """Commit what the fleet sends, then what waits; return the seconds that the commits took."""
    async with aclosing(Database(dsn)) as database:
        await prepare(database, 1, load.buses)
        await database.run(_freeze)
    clock = DatabaseClock()
    async with aclosing(FrozenDatabase(dsn, clock)) as database:
        await PostgresUpkeepStore(database).ensure_partitions(days_ahead=1)
        start = await PostgresSessionStore(database).begin_session("bench", ttl_seconds=86_400)
        if start is None:
            raise NotVerified("somebody else has this shard's session")
        store, number, began = PostgresIngestStore(database), 0, time.monotonic()
        for _ in range(load.seconds):
            for submissions in _units(load, start.session, clock.now()):
                number += 1
                await _commit(store, start.session, number, submissions, counts)
            clock.let_pass(1)
        took = time.monotonic() - began
        if counts is not None:
            await _write_rest(store, start.session, number, counts)
    await trio.sleep(SETTLE_SECONDS)
    return took


async def _commit(
    store: PostgresIngestStore,
    session: SessionRef,
    number: int,
    submissions: Sequence[Submission],
    counts: WatchedCounts | None,
) -> None:
    """Commit one unit, trying again while the database does not answer in time."""
    while True:
        try:
            await store.commit_unit(session, number, submissions, counts)
        except DatabaseAway as away:
            print(f"unit {number} is tried again: {away}", file=sys.stderr)
        else:
            break
    if counts is not None:
        counts.confirm()


async def _freeze(connection: Connection) -> None:
    await connection.execute(FREEZE)


async def _write_rest(
    store: PostgresIngestStore, session: SessionRef, number: int, counts: WatchedCounts
) -> None:
    """Write the counts that wait, as the process does before it ends. They are not figures."""
    counts.writes_all = True
    statements, rows = counts.statements.copy(), counts.rows.copy()
    while counts.waiting:
        number += 1
        await _commit(store, session, number, [], counts)
    counts.statements, counts.rows = statements, rows


def _units(load: Load, session: SessionRef, now: datetime) -> Iterator[list[Submission]]:
    """Yield what the fleet sends in one second, in units."""
    owner = Ownership(workspace_resource(workspace_of(0)), *session, 1)
    for begin in range(0, load.buses, UNIT):
        end = min(begin + UNIT, load.buses)
        yield [
            Submission(
                origin="stream",
                trace_id="bench",
                updates=tuple(
                    _update(number, now) for number in range(first, min(first + SUBMISSION, end))
                ),
                ownership=owner,
            )
            for first in range(begin, end, SUBMISSION)
        ]


def _update(number: int, now: datetime) -> CanonicalUpdate:
    readings = (
        Reading("soc_percent", IMPOSSIBLE_SOC, now),
        Reading("speed_kmh", float(now.second), now),
    )
    name = device_of(number)
    return CanonicalUpdate(workspace_of(0), PROVIDER, name, name, None, readings, now, "bench")


def find_faults(load: Load, counts: WatchedCounts, found: Sequence[int]) -> list[str]:
    """Return what the ledger has wrong, one sentence each. `found` is what ROWS returns."""
    rows, occurrences, new, again = found
    faults = []
    if occurrences != load.updates:
        faults.append(f"ledger: {load.updates} refusals, {occurrences} are counted")
    if rows != load.buses or new != load.buses:
        faults.append(f"ledger: {load.buses} buses have {rows} rows, {new} were inserted")
    if new + again != counts.told:
        faults.append(f"ledger: {new + again} rows were written, {counts.told} were told")
    most = load.buses * (1 + (load.seconds - 1) // 60)
    if counts.rows.total() > most:
        faults.append(f"ledger: {counts.rows.total()} rows in {load.seconds} s, at most {most}")
    return faults


def _print(load: Load, counts: WatchedCounts, took: float) -> None:
    minutes = range(0, load.seconds, 60)
    for begin in minutes:
        second = range(begin, min(begin + 60, load.seconds))
        rows = sum(counts.rows[each] for each in second)
        statements = sum(counts.statements[each] for each in second)
        print(
            f"seconds {second[0]} to {second[-1]}: {rows:,} rows in {statements:,} statements, "
            f"at most {max(counts.rows[each] for each in second):,} rows in one second"
        )
    print(
        f"in all {counts.rows.total():,} rows for {load.updates:,} refusals; the commits took "
        f"{took:.0f} s, {load.updates / took:,.0f} updates/s"
    )


def _int(value: object) -> int:
    return int(str(value))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--buses", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=125, help="of the database's time")
    flags = parser.parse_args(arguments)
    configure_logging(level="error")
    trio.run(run, Load(flags.buses, flags.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
