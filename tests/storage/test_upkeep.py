"""Partitions ahead and retention behind, on a real server."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ports.upkeep import Retention
from storage.faults import DatabaseRefused
from storage.queries import bound, sql
from storage.upkeep import PostgresUpkeepStore, count_days_ahead, find_expired, partition_name
from tests.storage.fixtures import WORKSPACE, populate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.gateway import Connection, Database
    from tests.conftest import Stores

TODAY = date(2026, 5, 1)


def names(*offsets: int) -> list[str]:
    return [partition_name(TODAY + timedelta(days=offset)) for offset in offsets]


@pytest.mark.parametrize(
    ("offsets", "ahead"),
    [((), -1), ((1, 2), -1), ((0,), 0), ((0, 1, 2), 2), ((0, 1, 3), 1), ((-1, 0, 1), 1)],
)
def test_days_ahead_count_without_gaps_from_today(offsets: tuple[int, ...], ahead: int) -> None:
    assert count_days_ahead(TODAY, names(*offsets)) == ahead


def test_only_whole_days_before_the_oldest_kept_are_expired() -> None:
    assert find_expired(names(-3, -2, -1, 0), TODAY - timedelta(days=1)) == names(-3, -2)


async def test_a_new_database_is_not_ready_before_it_has_partitions(
    postgres_stores: Stores,
) -> None:
    assert await postgres_stores.reads.check_ready() == -1
    assert await postgres_stores.upkeep.ensure_partitions(days_ahead=7) == 7
    assert await postgres_stores.upkeep.ensure_partitions(days_ahead=3) == 7
    assert await postgres_stores.reads.check_ready() == 7


async def test_two_shards_may_make_partitions_at_once(postgres_stores: Stores) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: postgres_stores.upkeep.ensure_partitions(days_ahead=2))
    assert await postgres_stores.reads.check_ready() == 2


async def test_a_partition_made_apart_gets_the_index_of_its_table(
    postgres_stores: Stores, database: Database
) -> None:
    await postgres_stores.upkeep.ensure_partitions(days_ahead=0)
    statement = (
        "SELECT count(*) FROM pg_indexes "
        "WHERE tablename LIKE 'events_2%' AND indexdef LIKE '%recorded_at%'"
    )
    assert await database.run(lambda connection: connection.fetchval(statement)) == 1


async def test_only_old_partitions_cycles_and_rejections_are_dropped(
    postgres_stores: Stores, database: Database
) -> None:
    cast = await populate(postgres_stores)
    await cast.send(cast.update(None, 0, external_id="nobody", soc_percent=1.0))

    async def age(connection: Connection) -> None:
        for days in (100, 10):
            day = (cast.noon - timedelta(days=days)).date()
            await connection.execute(
                f"CREATE TABLE {partition_name(day)} PARTITION OF events "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
            await connection.execute(
                "INSERT INTO rejections "
                "(workspace_id, recorded_at, origin, outcome, occurrences, trace_id) "
                "VALUES ($1, $2, 'poll', 'stale', 1, 't')",
                WORKSPACE,
                cast.noon - timedelta(days=days),
            )
            await connection.execute(
                "INSERT INTO poll_cycles "
                "(workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id, outcome) "
                "VALUES ($1, $2, 'schedule', 1, $3, 't', 'completed')",
                WORKSPACE,
                cast.noon - timedelta(days=days),
                f"cycle-{days}",
            )
            await connection.execute(
                "INSERT INTO parity_cycles SELECT $1, $2, $3, $2, 1, 0, 0, 0, 0, 0, '[]', NULL",
                WORKSPACE,
                cast.noon - timedelta(days=days),
                f"cycle-{days}",
            )

    await database.run(age)
    dropped = await postgres_stores.upkeep.drop_expired(Retention())
    assert {table: rows for table, rows in dropped.items() if rows} == {
        "event_partitions": 1,
        "poll_cycles": 1,
        "parity_cycles": 1,
        "rejections": 1,
        "cycle_spans": 1,
        "rejection_spans": 1,
    }
    assert (
        len(
            await postgres_stores.reads.list_rejections(
                WORKSPACE, before=None, reason=None, limit=10
            )
        )
        == 2
    )
    (cycle,) = await postgres_stores.reads.list_cycles(WORKSPACE, before=None, limit=10)
    assert cycle.cycle_id == "cycle-10"


RETENTION = {
    "drop_old_poll_cycles": "poll_cycles_slot_index",
    "drop_old_parity_cycles": "parity_cycles_slot_index",
    "drop_old_rejections": "rejections_recorded_index",
    "drop_old_cycle_spans": "cycle_spans_last_index",
    "drop_old_rejection_spans": "rejection_spans_last_index",
    "drop_old_connection_events": "connection_events_at_index",
    "drop_old_device_events": "device_events_at_index",
    "drop_old_backlog_events": "backlog_events_at_index",
    "drop_old_quarantine": "quarantine_recorded_index",
}


@pytest.mark.parametrize(("statement", "index"), RETENTION.items())
async def test_retention_finds_what_is_old_by_an_index(
    database: Database, statement: str, index: str
) -> None:
    plan = await explain(database, sql(statement), 30, 5000)
    assert f"using {index}" in plan
    assert "Index Cond" in plan.partition(index)[2]


async def test_an_index_finds_the_newest_good_cycle_and_one_reason(
    database: Database,
) -> None:
    page: dict[str, Any] = {"now": None, "workspaces": ["harbour"]}
    page |= {"rows_of": ["harbour"], "limit": 10}
    names = ("tag", "connection", "search", "device_id", "heard", "away_at_least")
    others = ("away_less_than", "after_workspace_id", "after_device_id")
    wanted = page | dict.fromkeys(names + others)
    plan = await explain(database, *bound("page_by_device", **wanted))
    assert "poll_cycles_good_index" in plan
    rejections = await explain(database, sql("list_rejections"), "harbour", None, "stale", 10)
    assert "using rejections_reason_index" in rejections
    assert "Sort" not in rejections


async def explain(database: Database, statement: str, *args: Any) -> str:
    """The plan where any index is better than none, since the tables are empty."""

    async def work(connection: Connection) -> str:
        await connection.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
        )
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *args))

    return await database.run(work)


OLD_REJECTIONS = """
    INSERT INTO rejections (workspace_id, recorded_at, origin, outcome, occurrences, trace_id)
    SELECT 'w', now() - interval '40 days', 'poll', 'stale', 1, 't' FROM generate_series(1, 5)
"""


async def test_a_chore_that_fails_does_not_keep_others_from_running(
    postgres_stores: Stores, database: Database
) -> None:
    await database.run(lambda connection: connection.execute(OLD_REJECTIONS))
    await database.run(lambda connection: connection.execute("DROP TABLE poll_cycles"))
    with pytest.raises(DatabaseRefused, match="poll_cycles"):
        await postgres_stores.upkeep.drop_expired(Retention())
    assert (
        await database.run(
            lambda connection: connection.fetchval("SELECT count(*) FROM rejections")
        )
        == 0
    )


async def test_who_finds_another_at_a_chore_leaves_it_to_that_one(
    postgres_stores: Stores, database: Database
) -> None:
    await database.run(lambda connection: connection.execute(OLD_REJECTIONS))

    async def work(connection: Connection) -> int:
        assert await connection.fetchval(sql("try_lock_chore"), "drop_old_rejections")
        taken.set()
        await done.wait()
        deleted: int = await connection.fetchval(sql("drop_old_rejections"), 30, 10)
        return deleted

    async def drop() -> Mapping[str, int]:
        return await postgres_stores.upkeep.drop_expired(Retention())

    taken, done = trio.Event(), asyncio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, work)
        await taken.wait()
        assert (await drop())["rejections"] == 0
        done.set()
    assert (
        await database.run(
            lambda connection: connection.fetchval("SELECT count(*) FROM rejections")
        )
        == 0
    )


async def test_retention_deletes_more_than_one_batch(
    postgres_stores: Stores, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.upkeep.DELETE_BATCH", 2)
    await database.run(lambda connection: connection.execute(OLD_REJECTIONS))
    dropped = await PostgresUpkeepStore(database).drop_expired(Retention())
    assert dropped["rejections"] == 5
