"""The ingest unit on a real PostgreSQL: locks, poison, lost answers, other writers.

What a unit does with updates is in tests/storage/contract, on the twin as well.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.refusals import RefusalCounts
from ports.ingest import CommitUnknown, UnitPoisoned
from storage.faults import DatabaseAway
from storage.gateway import Database, open_bridge
from storage.queries import sql
from storage.timeouts import Timeouts
from tests.conftest import Stores, make_postgres_stores
from tests.storage.fixtures import WORKSPACE, Cast, begin, draft, populate, submission
from tests.storage.holding import holding
from tests.storage.proxy import Proxy, open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from storage.gateway import Connection


@pytest.fixture
async def cast(postgres_stores: Stores) -> Cast:
    return await populate(postgres_stores)


async def fetch(database: Database, statement: str) -> list[tuple[Any, ...]]:
    rows = await database.run(lambda connection: connection.fetch(statement))
    return [tuple(row) for row in rows]


# --- One unit


async def test_snapshot_state_and_event_are_one_transaction(cast: Cast, database: Database) -> None:
    assert await cast.send(cast.update("bus-1", 0, soc_percent=50.0, charging=True)) == ["accepted"]
    states = (
        "SELECT device_id, s.version, n.version, document "
        "FROM device_state s JOIN snapshots n USING (device_id)"
    )
    assert (await fetch(database, f"{states} WHERE s.version > 0"))[0][:3] == ("bus-1", 1, 1)
    (event,) = await cast.stores.reads.list_events(WORKSPACE, "bus-1", before=None, limit=10)
    assert event.readings == {"soc_percent": (50.0, cast.at(0)), "charging": (True, cast.at(0))}
    assert (event.sequence, event.shard_id, event.epoch, event.token) == (1, "shard-1", 1, None)


async def test_values_keep_their_types_through_the_database(cast: Cast) -> None:
    values = {"soc_percent": 50.0, "charging": False, "odometer_km": 123_456, "speed_kmh": 0.1}
    await cast.send(cast.update("bus-1", 0, **values))
    found = await cast.document("bus-1")
    assert {name: (type(value), value) for name, value in found.items()} == {
        name: (type(value), value) for name, value in values.items()
    }


# --- Fence


async def test_a_successor_waits_for_the_unit_in_flight(cast: Cast, database: Database) -> None:
    """Declaring a session dead waits for the end of a unit that passed the fence before."""
    order: list[str] = []
    fence_passed = trio.Event()

    async def slow_unit(connection: Connection) -> None:
        await connection.execute(sql("fence"), "shard-1", 1, 0, 9)
        fence_passed.set()
        await connection.fetchval("SELECT pg_sleep(0.2)")
        order.append("unit")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, slow_unit)
        await fence_passed.wait()
        await begin(cast.stores, "shard-1")
        order.append("successor")
    assert order == ["unit", "successor"]


# --- Poison


@pytest.mark.parametrize("trace_id", ["\x00", "\ud800"])
async def test_poison_fails_the_whole_unit_and_quarantine_takes_it(
    cast: Cast, database: Database, trace_id: str
) -> None:
    poison = submission(cast.update("bus-1", 0, soc_percent=50.0, trace_id=trace_id))
    good = submission(cast.update("bus-2", 0, soc_percent=50.0))
    with pytest.raises(UnitPoisoned) as poisoned:
        await cast.commit(good, poison)
    assert await cast.sequences("bus-2") == []
    (receipt,) = await cast.stores.ingest.quarantine(
        cast.session, cast.unit, poison, poisoned.value
    )
    assert [result.reason for result in receipt.results] == ["data_error"]
    assert await fetch(database, "SELECT device_id, reason FROM quarantine") == [
        ("bus-1", "data_error")
    ]
    assert await cast.stores.ingest.load_last_unit(cast.session) == cast.unit


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1e308, 2**70, "\x00", "\ud800", None, [1], "x" * 9000]
)
async def test_no_value_that_anybody_can_send_poisons_a_unit(cast: Cast, value: Any) -> None:
    sent = cast.update("bus-1", 0, soc_percent=value), cast.update("bus-2", 0, soc_percent=50.0)
    assert (await cast.send(*sent))[1] == "accepted"
    assert await cast.document("bus-1") == {}


async def test_a_missing_partition_is_an_environment_fault(cast: Cast, database: Database) -> None:
    async def drop(connection: Connection) -> None:
        for row in await connection.fetch(
            "SELECT relname FROM pg_class WHERE relname LIKE 'events_2%' AND relkind = 'r'"
        ):
            await connection.execute(f"DROP TABLE {row['relname']}")

    await database.run(drop)
    with pytest.raises(Exception, match="no partition of relation") as failure:
        await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    assert not isinstance(failure.value, UnitPoisoned)


# --- Lost answers


@pytest.fixture
async def lossy(dsn: str) -> AsyncIterator[tuple[Proxy, Cast]]:
    async with open_proxy(dsn) as proxy, open_bridge():
        database = Database(proxy.dsn, pool_size=2, timeouts=Timeouts(command=1, cleanup=0.5))
        yield proxy, await populate(make_postgres_stores(database))
        await database.aclose()


@pytest.mark.parametrize("committed", [True, False])
async def test_the_last_unit_tells_whether_a_lost_commit_was_applied(
    lossy: tuple[Proxy, Cast], committed: bool
) -> None:
    proxy, cast = lossy
    proxy.cut_at(b"COMMIT", before=not committed)
    with pytest.raises(CommitUnknown) as unknown:
        await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    assert [result.outcome for result in unknown.value.receipts[0].results] == ["accepted"]
    assert (await cast.stores.ingest.load_last_unit(cast.session) == cast.unit) is committed
    assert await cast.sequences("bus-1") == ([1] if committed else [])


# --- Contention


async def test_a_unit_that_waited_judges_by_what_the_other_wrote(
    cast: Cast, database: Database
) -> None:
    """The second unit's statement began before the first one's commit and saw an old document."""
    other = Cast(cast.stores, await begin(cast.stores, "shard-2"))
    other.noon = cast.noon
    await cast.send(cast.update("bus-1", 0, soc_percent=1.0))

    locked = trio.Event()

    async def hold(connection: Connection) -> None:
        await connection.execute("SELECT 1 FROM device_state WHERE device_id = 'bus-1' FOR UPDATE")
        locked.set()
        await connection.fetchval("SELECT pg_sleep(0.2)")
        document = '{"soc_percent": [9.0, "2100-01-01T00:00:00Z"]}'
        await connection.execute("UPDATE device_state SET version = 2 WHERE device_id = 'bus-1'")
        await connection.execute(
            "UPDATE snapshots SET version = 2, document = $1 WHERE device_id = 'bus-1'", document
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, hold)
        await locked.wait()
        assert await other.send(other.update("bus-1", 10, soc_percent=2.0)) == ["stale"]


async def test_two_writers_on_the_same_devices_leave_no_gap(cast: Cast, database: Database) -> None:
    """Random batches from two sessions: updates in any order, by device id and by external id."""
    buses = [f"many-{number}" for number in range(40)]
    await cast.stores.registry.put_devices(WORKSPACE, [draft(bus) for bus in buses])
    other = Cast(cast.stores, await begin(cast.stores, "shard-2"))
    accepted = 0

    async def write(writer: Cast, random: Random) -> None:
        nonlocal accepted
        for turn in range(
            0, 500, 20
        ):  # the present moves on while the order within it is arbitrary
            chosen = random.sample(buses, 20)
            updates = [
                writer.update(
                    None,
                    turn + random.randrange(100),
                    external_id=f"x-{bus}",
                    soc_percent=random.randrange(100),
                )
                if random.random() < 0.5
                else writer.update(
                    bus, turn + random.randrange(100), soc_percent=random.randrange(100)
                )
                for bus in chosen
            ]
            outcomes = await writer.send(*updates)
            accepted += outcomes.count("accepted")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, cast, Random(1))
        nursery.start_soon(write, other, Random(2))
    broken = """
        SELECT device_id FROM device_state s LEFT JOIN events e USING (workspace_id, device_id)
        GROUP BY device_id, s.version
        HAVING count(sequence) <> s.version OR coalesce(max(sequence), 0) <> s.version
            OR count(DISTINCT sequence) <> s.version
    """
    assert await fetch(database, broken) == []
    backwards = """
        SELECT 1 FROM (
            SELECT sequence, lag(sequence) OVER (
                PARTITION BY device_id ORDER BY recorded_at, sequence
            ) AS before
            FROM events
        ) AS ordered WHERE sequence < before
    """
    assert await fetch(database, backwards) == []
    assert await fetch(database, "SELECT count(*) FROM events") == [(accepted,)]
    assert database.statistics().reruns == 0


async def test_a_device_locked_for_too_long_gives_the_unit_back(
    cast: Cast, database: Database, dsn: str
) -> None:
    impatient = Database(dsn, pool_size=1, timeouts=Timeouts(lock=0.1))
    locked = trio.Event()

    async def hold(connection: Connection) -> None:
        await connection.execute("SELECT 1 FROM device_state FOR UPDATE")
        locked.set()
        await connection.fetchval("SELECT pg_sleep(5)")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, hold)
        await locked.wait()
        unit = [submission(cast.update("bus-1", 0, soc_percent=1.0))]
        with pytest.raises(DatabaseAway, match="55P03") as away:
            await make_postgres_stores(impatient).ingest.commit_unit(cast.session, 1, unit)
        assert away.value.retry_after == 0.1
        nursery.cancel_scope.cancel()
    await impatient.aclose()


# --- The ledger


async def test_a_locked_row_of_the_ledger_holds_up_no_data(cast: Cast, database: Database) -> None:
    counts = RefusalCounts()

    async def refuse(seconds: float) -> None:
        refused = cast.update("bus-1", seconds, soc_percent=102.5, speed_kmh=9.0)
        cast.unit += 1
        arguments = (cast.session, cast.unit, [submission(refused)], counts)
        await cast.stores.ingest.commit_unit(*arguments)
        counts.confirm()

    await refuse(0)
    counts.writes_all = True
    async with holding(database, "SELECT * FROM rejections FOR UPDATE"):
        with trio.fail_after(0.4):  # the lock timeout of a unit is 0.5 s
            await refuse(1)
    assert await cast.sequences("bus-1") == [1, 2]
    assert counts.waiting == 1
    await refuse(2)
    (row,) = await fetch(database, "SELECT occurrences FROM rejections")
    assert (row, counts.waiting) == ((3,), 0)


async def test_two_units_with_one_new_key_make_one_row(cast: Cast, database: Database) -> None:
    """The second unit waits for the first, as for any row, and then counts up."""
    other = await begin(cast.stores, "shard-2")
    stranger = submission(cast.update("bus-9", 0, soc_percent=1.0))
    async with trio.open_nursery() as nursery:
        for session in (cast.session, other.session):
            nursery.start_soon(cast.stores.ingest.commit_unit, session, 1, [stranger])
    assert await fetch(database, "SELECT occurrences FROM rejections") in ([(1,)], [(2,)])
