"""The upkeep of tables: partitions made ahead of time, and rows deleted when their time is over.

Owns the names of partitions (`events_YYYYMMDD`, one UTC day each) and the only SQL with computed
identifiers, which are made from dates and nothing else. There is no DEFAULT partition: rows in it
would block the creation of the real one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from runtime.faults import EnvironmentFault
from storage.checkpoints import EventKey, checkpoint_events, first_key
from storage.queries import sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from ports.upkeep import Retention
    from storage.gateway import Connection, Database

DELETE_BATCH = 5_000
MAX_BATCHES = 200  # a run deletes at most a million rows of a table; the next run goes on


class PostgresUpkeepStore:
    """ports.upkeep.UpkeepStore."""

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

    async def drop_expired(self, kept: Retention) -> Mapping[str, int]:
        """Run every chore, also after one failed, and return how much each dropped.

        At the end, raises the first chore's fault, if any had one.
        """
        chores: dict[str, Callable[[], Awaitable[int]]] = {
            "event_partitions": partial(self._drop_partitions, kept.event_days),
            "poll_cycles": partial(self._delete, "drop_old_poll_cycles", kept.cycle_days),
            "parity_cycles": partial(self._delete, "drop_old_parity_cycles", kept.cycle_days),
            "rejections": partial(self._delete, "drop_old_rejections", kept.rejection_days),
            "cycle_spans": partial(self._delete, "drop_old_cycle_spans", kept.span_days),
            "rejection_spans": partial(self._delete, "drop_old_rejection_spans", kept.span_days),
            "connection_events": partial(
                self._delete, "drop_old_connection_events", kept.edge_days
            ),
            "device_events": partial(self._delete, "drop_old_device_events", kept.edge_days),
            "backlog_events": partial(self._delete, "drop_old_backlog_events", kept.edge_days),
            "indicator_hours": partial(self._delete, "drop_old_indicator_hours", kept.span_days),
            "quarantine": partial(self._delete, "drop_old_quarantine", kept.event_days),
            "sign_ins": partial(self._delete, "drop_old_sign_ins", kept.sign_in_days),
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
        """Drop each expired partition, oldest first, once its events are in the checkpoints.

        DROP locks the whole table for a moment. If readers hold it, lock_timeout makes the DROP
        give up. Checkpoints that are written by then stay: writing them again changes nothing.
        """
        today, names = await self._database.run(read_partitions)
        dropped = 0
        for name in find_expired(names, today - timedelta(days=days)):
            step: EventKey | bool = first_key(_bounds(_day_of(name))[0])
            while isinstance(step, EventKey):
                step = await self._database.run(partial(_checkpoint_or_drop, name, step))
            dropped += step
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


def _day_of(name: str) -> date:
    """Return the day of a partition; the inverse of partition_name."""
    return datetime.strptime(name, "events_%Y%m%d").replace(tzinfo=UTC).date()


def _bounds(day: date) -> tuple[datetime, datetime]:
    """Return when the day's partition begins, and when the next one does."""
    begins_at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begins_at, begins_at + timedelta(days=1)


def count_days_ahead(today: date, names: Iterable[str]) -> int:
    """Return how many days after today have partitions without a gap.

    -1 if today itself has none.
    """
    held = set(names)
    days = -1
    while partition_name(today + timedelta(days=days + 1)) in held:
        days += 1
    return days


def find_expired(names: Sequence[str], oldest_kept: date) -> list[str]:
    """Return the partitions whose whole day lies before the oldest day kept."""
    return [name for name in names if name < partition_name(oldest_kept)]


async def read_partitions(connection: Connection) -> tuple[date, list[str]]:
    """Return the database's day and the names of the partitions of events. Runs in asyncio."""
    today: date = await connection.fetchval(sql("read_today"))
    return today, [row["relname"] for row in await connection.fetch(sql("list_partitions"))]


async def _checkpoint_or_drop(
    name: str, after: EventKey, connection: Connection
) -> EventKey | bool:
    """Write a chunk of the partition's events to the checkpoints; with the last one drop it.

    Returns the place of the chunk's last event if there are more, else whether the partition was
    dropped. It is not while another shard has the chore, or if it is gone already.
    """
    if (
        not await is_ours("drop_partitions", connection)
        or name not in (await read_partitions(connection))[1]
    ):
        return False
    last = await checkpoint_events(connection, *_bounds(_day_of(name)), after)
    if last is not None:
        return last
    await connection.execute(f"DROP TABLE {name}")
    return True


async def _delete_batch(statement: str, days: int, connection: Connection) -> int:
    """Delete one batch and return how many rows it had.

    Returns 0 while another shard has the chore; that shard deletes the rest.
    """
    if not await is_ours(statement, connection):
        return 0
    deleted: int = await connection.fetchval(sql(statement), days, DELETE_BATCH)
    return deleted


async def is_ours(chore: str, connection: Connection) -> bool:
    """Take the chore for this transaction. Returns False if another transaction has it."""
    taken: bool = await connection.fetchval(sql("try_lock_chore"), chore)
    return taken


async def _make_partition(connection: Connection, day: date) -> None:
    """Create a partition by itself, then attach it.

    ATTACH lets readers and writers go on; CREATE … PARTITION OF would lock them out.
    """
    name = partition_name(day)
    begin, end = _bounds(day)
    await connection.execute(
        f"CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    )
    await connection.execute(
        f"ALTER TABLE events ATTACH PARTITION {name} "
        f"FOR VALUES FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
    )
