"""Partitions ahead and retention behind.

Owns the names of partitions (`events_YYYYMMDD`, one UTC day each) and the only SQL with computed identifiers, which
are made from dates and nothing else. No DEFAULT partition: rows in it would block the making of the real one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from runtime.faults import EnvironmentFault
from storage.queries import sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from storage.gateway import Connection, Database

DELETE_BATCH = 5_000
MAX_BATCHES = 200  # a run deletes at most a million rows of a table; the next run goes on


class PostgresUpkeepStore:
    """actors.ports.UpkeepStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_partitions(self, *, days_ahead: int) -> int:
        async def work(connection: Connection) -> int:
            await connection.execute(sql("lock_upkeep"))
            today, names = await read_partitions(connection)
            for day in (today + timedelta(days=offset) for offset in range(days_ahead + 1)):
                if partition_name(day) not in names:
                    await _make_partition(connection, day)
            return count_days_ahead(today, (await read_partitions(connection))[1])

        return await self._database.run(work)

    async def drop_expired(self, *, event_days: int, cycle_days: int, rejection_days: int) -> Mapping[str, int]:
        """Each chore whatever became of those before it; then raises the first one's fault, if one had any."""
        chores: dict[str, Callable[[], Awaitable[int]]] = {
            "event_partitions": partial(self._drop_partitions, event_days),
            "poll_cycles": partial(self._delete, "drop_old_cycles", cycle_days),
            "rejections": partial(self._delete, "drop_old_rejections", rejection_days),
            "connection_events": partial(self._delete, "drop_old_connection_events", event_days),
            "quarantine": partial(self._delete, "drop_old_quarantine", event_days),
        }
        dropped: dict[str, int] = {}
        faults: list[EnvironmentFault] = []
        for table, chore in chores.items():
            try:
                dropped[table] = await chore()
            except EnvironmentFault as fault:
                faults.append(fault)
        if faults:
            raise faults[0]
        return dropped

    async def _drop_partitions(self, days: int) -> int:
        """One transaction each. DROP locks the whole table for a moment: lock_timeout gives way to whoever reads."""
        today, names = await self._database.run(read_partitions)
        dropped = 0
        for name in find_expired(names, today - timedelta(days=days)):
            dropped += await self._database.run(partial(_drop_partition, name))
        return dropped

    async def _delete(self, statement: str, days: int) -> int:
        deleted = 0
        for _ in range(MAX_BATCHES):
            batch = await self._database.run(partial(_delete_batch, statement, days))
            deleted += batch
            if batch < DELETE_BATCH:
                break
        return deleted


def partition_name(day: date) -> str:
    return f"events_{day:%Y%m%d}"


def count_days_ahead(today: date, names: Iterable[str]) -> int:
    """How many days after today are covered without a gap; -1 when today itself is not."""
    held = set(names)
    days = -1
    while partition_name(today + timedelta(days=days + 1)) in held:
        days += 1
    return days


def find_expired(names: Sequence[str], oldest_kept: date) -> list[str]:
    """Partitions whose whole day lies before the oldest day kept."""
    return [name for name in names if name < partition_name(oldest_kept)]


async def read_partitions(connection: Connection) -> tuple[date, list[str]]:
    """asyncio: the database's day, and the partitions of events by name."""
    today: date = await connection.fetchval(sql("read_today"))
    return today, [row["relname"] for row in await connection.fetch(sql("list_partitions"))]


async def _drop_partition(name: str, connection: Connection) -> int:
    """How many were dropped: none while somebody else is at it, or when it is gone already."""
    if not await _is_ours("drop_partitions", connection) or name not in (await read_partitions(connection))[1]:
        return 0
    await connection.execute(f"DROP TABLE {name}")
    return 1


async def _delete_batch(statement: str, days: int, connection: Connection) -> int:
    """How many rows were deleted; none while somebody else is at it, who will see to the rest."""
    if not await _is_ours(statement, connection):
        return 0
    deleted: int = await connection.fetchval(sql(statement), days, DELETE_BATCH)
    return deleted


async def _is_ours(chore: str, connection: Connection) -> bool:
    """Take the chore for this transaction, or learn that somebody else has it."""
    taken: bool = await connection.fetchval(sql("try_lock_chore"), chore)
    return taken


async def _make_partition(connection: Connection, day: date) -> None:
    """Made apart and attached: ATTACH lets readers and writers go on, CREATE … PARTITION OF would lock them out."""
    name = partition_name(day)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=1)
    await connection.execute(f"CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    await connection.execute(
        f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
    )
