"""The ingest unit on PostgreSQL: exactly once, under contention, poison, lost answers and fencing."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.ports import CommitUnknown, SessionFenced, UnitPoisoned
from domain.model import (
    Confirmation,
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    CycleEnd,
    CycleKey,
    CycleOutcome,
    CycleTrigger,
    FaultClass,
    Ownership,
    SessionRef,
)
from domain.schedule import cycle_id
from storage.faults import DatabaseAway
from storage.gateway import Database, open_bridge
from tests.conftest import Stores, make_postgres_stores
from tests.storage.cast import BUSES, PROVIDER, WORKSPACE, Cast, draft, settle, submission
from tests.storage.proxy import Proxy, open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from storage.gateway import Connection


@pytest.fixture
async def cast(postgres_stores: Stores) -> Cast:
    return await settle(postgres_stores)


async def fetch(database: Database, statement: str) -> list[tuple[Any, ...]]:
    rows = await database.run(lambda connection: connection.fetch(statement))
    return [tuple(row) for row in rows]


# --- One unit ---------------------------------------------------------------------------------------------------------


async def test_snapshot_state_and_event_are_one_transaction(cast: Cast, database: Database) -> None:
    assert await cast.send(cast.update("bus-1", 0, soc_percent=50.0, charging=True)) == ["accepted"]
    states = "SELECT device_id, s.version, n.version, document FROM device_state s JOIN snapshots n USING (device_id)"
    assert (await fetch(database, f"{states} WHERE s.version > 0"))[0][:3] == ("bus-1", 1, 1)
    (event,) = await cast.stores.reads.list_events(WORKSPACE, "bus-1", before=None, limit=10)
    assert event.readings == {"soc_percent": (50.0, cast.at(0)), "charging": (True, cast.at(0))}
    assert (event.sequence, event.shard_id, event.epoch, event.token) == (1, "shard-1", 1, None)


async def test_a_late_frame_does_not_move_the_snapshot_back(cast: Cast) -> None:
    frames = (cast.update("bus-1", 10, soc_percent=50.0), cast.update("bus-1", 5, soc_percent=60.0))
    assert await cast.send(*frames) == ["accepted", "stale"]
    assert await cast.document("bus-1") == {"soc_percent": 50.0}


async def test_the_same_unit_again_is_all_duplicates(cast: Cast) -> None:
    updates = [cast.update(bus, 0, soc_percent=50.0) for bus in BUSES]
    assert await cast.send(*updates) == ["accepted"] * 3
    assert await cast.send(*updates) == ["duplicate"] * 3
    assert await cast.sequences("bus-1") == [1]


async def test_values_keep_their_types_through_the_database(cast: Cast) -> None:
    values = {"soc_percent": 50.0, "charging": False, "odometer_km": 123_456, "speed_kmh": 0.1}
    await cast.send(cast.update("bus-1", 0, **values))
    found = await cast.document("bus-1")
    assert {name: (type(value), value) for name, value in found.items()} == {
        name: (type(value), value) for name, value in values.items()
    }


async def test_a_retired_device_is_unknown_and_known_again_with_its_version_when_activated_anew(cast: Cast) -> None:
    await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    await cast.stores.registry.retire_device(WORKSPACE, "bus-1")
    assert await cast.send(cast.update(None, 1, external_id="x-bus-1", soc_percent=51.0)) == ["rejected:unknown_device"]
    await cast.stores.registry.put_devices(WORKSPACE, [draft("bus-1")])
    assert await cast.send(cast.update("bus-1", 2, soc_percent=52.0)) == ["accepted"]
    assert await cast.sequences("bus-1") == [1, 2]


async def test_a_refused_update_is_visible_on_its_device_and_leaves_the_snapshot(
    cast: Cast, database: Database
) -> None:
    wrong = cast.update("bus-1", 0, soc_percent=50.0, vehicle_id="another")
    assert await cast.send(wrong) == ["rejected:identity_conflict"]
    facts = "SELECT version, last_rejected_at, last_rejection_reason FROM device_state WHERE device_id = 'bus-1'"
    assert await fetch(database, facts) == [(0, cast.at(0), "identity_conflict")]
    (row,) = await cast.stores.reads.list_rejections(WORKSPACE, before=None, reason="identity_conflict", limit=10)
    assert (row.device_id, row.occurrences, row.outcome) == ("bus-1", 1, "rejected")


async def test_a_confirmation_moves_its_own_instant_only_and_never_back(cast: Cast, database: Database) -> None:
    for second in (10, 5):
        await cast.commit(submission(confirmation=Confirmation(WORKSPACE, ("bus-1", "nobody"), cast.at(second))))
    facts = "SELECT last_confirmed_at, last_update_received_at FROM device_state WHERE device_id = 'bus-1'"
    assert await fetch(database, facts) == [(cast.at(10), None)]


async def test_cursor_facts_and_cycle_commit_with_the_data(cast: Cast, database: Database) -> None:
    key = CycleKey(WORKSPACE, cast.at(0), CycleTrigger.SCHEDULE, 1)
    start = await cast.stores.cycles.start_cycle(cast.session, key, cycle_id(key), "trace-1")
    failed = ConnectionFact(WORKSPACE, PROVIDER, ConnectionFactKind.CALL_FAILED, cast.at(0), FaultClass.QUOTA, "429")
    recovered = failed._replace(kind=ConnectionFactKind.CALL_SUCCEEDED, at=cast.at(1), fault=None, detail=None)
    await cast.commit(
        submission(
            cast.update("bus-1", 0, soc_percent=50.0),
            cursor=CursorAdvance(WORKSPACE, PROVIDER, "page-2"),
            facts=(failed, failed, recovered),
            cycle=CycleEnd(start.key, start.cycle_id, cast.at(2), CycleOutcome.COMPLETED, {"records": 1}),
        )
    )
    fleet = await cast.stores.sessions.load_fleet(WORKSPACE)
    assert fleet is not None
    assert fleet.cursors == {PROVIDER: "page-2"}
    edges = await fetch(database, "SELECT kind, fault FROM connection_events ORDER BY event_id")
    assert edges == [("call_failed", "quota"), ("call_succeeded", None)]
    cycle = await cast.stores.reads.get_cycle(WORKSPACE, start.cycle_id)
    assert cycle is not None
    assert (cycle.outcome, cycle.ended_at, cycle.summary) == (CycleOutcome.COMPLETED, cast.at(2), {"records": 1})


async def test_facts_about_a_connection_nobody_configured_are_dropped(cast: Cast, database: Database) -> None:
    fact = ConnectionFact(WORKSPACE, "gone", ConnectionFactKind.CALL_SUCCEEDED, cast.at(0))
    assert await cast.commit(submission(facts=(fact,), cursor=CursorAdvance(WORKSPACE, "gone", "1")))
    assert await fetch(database, "SELECT * FROM connection_events") == []


async def test_an_abandoned_cycle_stays_abandoned_when_its_former_owner_ends_it(cast: Cast) -> None:
    key = CycleKey(WORKSPACE, cast.at(0), CycleTrigger.SCHEDULE, 1)
    start = await cast.stores.cycles.start_cycle(cast.session, key, cycle_id(key), "trace-1")
    other = (await cast.stores.sessions.begin_session("shard-2", ttl_seconds=15)).session
    assert await cast.stores.cycles.abandon_orphans(other, WORKSPACE) == 1
    await cast.commit(submission(cycle=CycleEnd(start.key, start.cycle_id, cast.at(1), CycleOutcome.COMPLETED, {})))
    cycle = await cast.stores.reads.get_cycle(WORKSPACE, start.cycle_id)
    assert cycle is not None
    assert cycle.outcome == CycleOutcome.ABANDONED


# --- Fence ------------------------------------------------------------------------------------------------------------


async def test_a_new_epoch_fences_the_old_one_and_only_what_it_owned(cast: Cast) -> None:
    old = cast.session
    cast.session = (await cast.stores.sessions.begin_session("shard-1", ttl_seconds=15)).session
    with pytest.raises(SessionFenced):
        await cast.stores.ingest.commit_unit(old, 1, [submission(cast.update("bus-1", 0, soc_percent=50.0))])
    owned = submission(
        cast.update("bus-1", 0, soc_percent=50.0), ownership=Ownership("harbour/live", old.shard_id, old.epoch, 1)
    )
    receipts = await cast.commit(owned, submission(cast.update("bus-2", 0, soc_percent=50.0)))
    assert [receipt.results[0].reason for receipt in receipts] == ["fenced", None]
    assert await cast.stores.ingest.load_last_unit(old) is None
    assert await cast.stores.ingest.load_last_unit(cast.session) == 1


async def test_a_successor_waits_for_the_unit_in_flight(cast: Cast, database: Database) -> None:
    """Declaring a session dead returns only when the unit that passed the fence before has ended."""
    order: list[str] = []

    async def slow_unit(connection: Connection) -> None:
        await connection.execute("UPDATE sessions SET last_unit = 9 WHERE shard_id = 'shard-1'")
        await connection.fetchval("SELECT pg_sleep(0.2)")
        order.append("unit")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, slow_unit)
        while not await fetch(database, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.2)%' LIMIT 1"):
            pass
        await cast.stores.sessions.begin_session("shard-1", ttl_seconds=15)
        order.append("successor")
    assert order == ["unit", "successor"]


# --- Poison -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace_id", ["\x00", "\ud800"])
async def test_poison_fails_the_whole_unit_and_quarantine_takes_it(
    cast: Cast, database: Database, trace_id: str
) -> None:
    poison = submission(cast.update("bus-1", 0, soc_percent=50.0, trace_id=trace_id))
    good = submission(cast.update("bus-2", 0, soc_percent=50.0))
    with pytest.raises(UnitPoisoned) as poisoned:
        await cast.commit(good, poison)
    assert await cast.sequences("bus-2") == []
    receipt = await cast.stores.ingest.quarantine(cast.session, cast.unit, poison, poisoned.value)
    assert [result.reason for result in receipt.results] == ["data_error"]
    assert await fetch(database, "SELECT device_id, reason FROM quarantine") == [("bus-1", "data_error")]
    assert await cast.stores.ingest.load_last_unit(cast.session) == cast.unit


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, 2**70, "\x00", "\ud800", None, [1], "x" * 9000])
async def test_no_value_that_anybody_can_send_poisons_a_unit(cast: Cast, value: Any) -> None:
    sent = cast.update("bus-1", 0, soc_percent=value), cast.update("bus-2", 0, soc_percent=50.0)
    assert (await cast.send(*sent))[1] == "accepted"
    assert await cast.document("bus-1") == {}


async def test_a_missing_partition_is_the_environments_fault_not_the_datas(cast: Cast, database: Database) -> None:
    async def drop(connection: Connection) -> None:
        for row in await connection.fetch(
            "SELECT relname FROM pg_class WHERE relname LIKE 'events_2%' AND relkind = 'r'"
        ):
            await connection.execute(f"DROP TABLE {row['relname']}")

    await database.run(drop)
    with pytest.raises(Exception, match="no partition of relation") as failure:
        await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    assert not isinstance(failure.value, UnitPoisoned)


# --- Lost answers -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def lossy(dsn: str) -> AsyncIterator[tuple[Proxy, Cast]]:
    async with open_proxy(dsn) as proxy, open_bridge():
        database = Database(proxy.dsn, pool_size=2, command_timeout=1, settle_timeout=0.5)
        yield proxy, await settle(make_postgres_stores(database))
        await database.aclose()


@pytest.mark.parametrize("committed", [True, False])
async def test_after_a_lost_commit_the_last_unit_tells_whether_the_receipts_are_true(
    lossy: tuple[Proxy, Cast], committed: bool
) -> None:
    proxy, cast = lossy
    proxy.cut_at(b"COMMIT", before=not committed)
    with pytest.raises(CommitUnknown) as unknown:
        await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    assert [result.outcome for result in unknown.value.receipts[0].results] == ["accepted"]
    assert (await cast.stores.ingest.load_last_unit(cast.session) == cast.unit) is committed
    assert await cast.sequences("bus-1") == ([1] if committed else [])


# --- Contention -------------------------------------------------------------------------------------------------------


async def test_a_unit_that_waited_for_a_device_judges_by_what_the_other_wrote(cast: Cast, database: Database) -> None:
    """The second unit's statement began before the first one's commit, so its snapshot of the document is old."""
    other = Cast(cast.stores, await cast.stores.sessions.begin_session("shard-2", ttl_seconds=15))
    other.noon = cast.noon
    await cast.send(cast.update("bus-1", 0, soc_percent=1.0))

    async def hold(connection: Connection) -> None:
        await connection.execute("SELECT 1 FROM device_state WHERE device_id = 'bus-1' FOR UPDATE")
        await connection.fetchval("SELECT pg_sleep(0.2)")
        document = '{"soc_percent": [9.0, "2099-01-01T00:00:00Z"]}'
        await connection.execute("UPDATE device_state SET version = 2 WHERE device_id = 'bus-1'")
        await connection.execute("UPDATE snapshots SET version = 2, document = $1 WHERE device_id = 'bus-1'", document)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, hold)
        while not await fetch(database, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.2)%' LIMIT 1"):
            pass
        assert await other.send(other.update("bus-1", 10, soc_percent=2.0)) == ["stale"]


async def test_two_writers_on_the_same_devices_meet_no_deadlock_and_leave_no_gap(
    cast: Cast, database: Database
) -> None:
    """Random batches, each device's updates in any order, from two sessions and over external ids too."""
    buses = [f"many-{number}" for number in range(40)]
    await cast.stores.registry.put_devices(WORKSPACE, [draft(bus) for bus in buses])
    other = Cast(cast.stores, await cast.stores.sessions.begin_session("shard-2", ttl_seconds=15))
    accepted = 0

    async def write(writer: Cast, random: Random) -> None:
        nonlocal accepted
        for _ in range(25):
            chosen = random.sample(buses, 20)
            updates = [
                writer.update(None, random.randrange(600), external_id=f"x-{bus}", soc_percent=random.randrange(100))
                if random.random() < 0.5
                else writer.update(bus, random.randrange(600), soc_percent=random.randrange(100))
                for bus in chosen
            ]
            accepted += (await writer.send(*updates)).count("accepted")

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
        SELECT 1 FROM (SELECT sequence, lag(sequence) OVER (PARTITION BY device_id ORDER BY recorded_at, sequence) AS before
                       FROM events) AS ordered WHERE sequence < before
    """
    assert await fetch(database, backwards) == []
    assert await fetch(database, "SELECT count(*) FROM events") == [(accepted,)]
    assert database.statistics()["reruns"] == 0


async def test_a_device_locked_for_too_long_gives_the_unit_back(cast: Cast, dsn: str) -> None:
    async with open_bridge():
        impatient = Database(dsn, pool_size=2, lock_timeout=0.1)
        stores = make_postgres_stores(impatient)

        async def hold(connection: Connection) -> None:
            await connection.execute("SELECT 1 FROM device_state FOR UPDATE")
            await connection.fetchval("SELECT pg_sleep(1)")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(impatient.run, hold)
            while impatient.statistics()["in_use"] < 1 or not await fetch(
                impatient, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1)%' LIMIT 1"
            ):
                pass
            with pytest.raises(DatabaseAway, match="55P03") as away:
                await stores.ingest.commit_unit(cast.session, 1, [submission(cast.update("bus-1", 0, soc_percent=1.0))])
            assert away.value.retry_after == 0.1
            nursery.cancel_scope.cancel()
        await impatient.aclose()


async def test_a_unit_of_a_session_nobody_began_is_fenced(cast: Cast) -> None:
    with pytest.raises(SessionFenced):
        await cast.stores.ingest.commit_unit(SessionRef("nobody", 1), 1, [submission()])


async def test_noon_of_the_cast_lies_in_the_past(cast: Cast) -> None:
    now = await cast.stores.reads.list_snapshots(WORKSPACE, after=None, limit=1)
    assert now[0] - cast.noon > timedelta(minutes=10)
