"""Partitions ahead and retention behind.

Owns the names of partitions (`events_YYYYMMDD`, one UTC day each) and the only SQL with computed identifiers, which
are made from dates and nothing else. No DEFAULT partition: rows in it would block the making of the real one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from storage.queries import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
        return {
            "event_partitions": await self._drop_partitions(event_days),
            "poll_cycles": await self._delete("drop_old_cycles", cycle_days),
            "rejections": await self._delete("drop_old_rejections", rejection_days),
            "connection_events": await self._delete("drop_old_connection_events", event_days),
            "quarantine": await self._delete("drop_old_quarantine", event_days),
        }

    async def _drop_partitions(self, days: int) -> int:
        """One transaction each. DROP locks the whole table for a moment: lock_timeout gives way to whoever reads."""
        today, names = await self._database.run(read_partitions)
        expired = find_expired(names, today - timedelta(days=days))
        for name in expired:
            await self._database.run(partial(_drop_table, name))
        return len(expired)

    async def _delete(self, statement: str, days: int) -> int:
        deleted = 0
        for _ in range(MAX_BATCHES):
            batch: int = await self._database.run(
                lambda connection: connection.fetchval(sql(statement), days, DELETE_BATCH)
            )
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


async def _drop_table(name: str, connection: Connection) -> None:
    await connection.execute(f"DROP TABLE IF EXISTS {name}")


async def _make_partition(connection: Connection, day: date) -> None:
    """Made apart and attached: ATTACH lets readers and writers go on, CREATE … PARTITION OF would lock them out."""
    name = partition_name(day)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=1)
    await connection.execute(f"CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    await connection.execute(
        f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
    )
