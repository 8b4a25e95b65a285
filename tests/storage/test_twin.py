"""The twin alone: trouble on demand, all or nothing at every statement, none missing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from domain.cycles import CycleEnd, CycleOutcome
from domain.model import ConnectionFact, ConnectionFactKind
from ports.ingest import CommitUnknown, UnitPoisoned
from ports.sessions import VitalSigns
from ports.upkeep import Retention
from storage.faults import DatabaseAway, DatabaseRefused
from storage.memory import MemoryStore
from storage.memory.locks import RowLocks
from storage.memory.tables import UnitTables
from storage.memory.unit import UnitStatements
from storage.queries import parse_blocks, read_sources
from storage.unit.steps import Statement, columns
from tests.statements import named
from tests.storage.contract.cast import HARBOUR, TickingClock, World, populate, slot, submission
from tests.storage.contract.conftest import InsideTwin

if TYPE_CHECKING:
    from trio.testing import MockClock

    from domain.model import Submission


# Of a unit that does everything, in order. reread_devices is for rows that another unit wrote while
# this one waited: on the twin writers take turns, so there are none.
STEPS = (
    *(
        "fence",
        "resolve_external_ids",
        "lock_devices",
        "write_device_states",
        "append_device_events",
        "write_snapshots",
        "append_events",
    ),
    *("lock_connections", "write_connections", "append_connection_events"),
    *("count_devices", "end_cycles"),
    *("append_rejections", "count_rejections", "append_quarantine"),
)


class Pen:
    """A hook that stops units before a named statement until told to go on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.reached = trio.Event()
        self.go_on = trio.Event()

    async def __call__(self, statement: Statement) -> None:
        if statement.name == self._name:
            self.reached.set()
            await self.go_on.wait()


async def everything_at_once(world: World) -> Submission:
    """A submission whose unit takes all the steps."""
    start = await world.start(slot())
    good = world.update(
        "bus-1", world.ago(minutes=3), device_id=None, external_id="x-bus-1", soc_percent=50.0
    )
    broken = good._replace(readings=(("not", "a reading"),))  # type: ignore[arg-type]
    end = CycleEnd(start.key, start.cycle_id, world.now, CycleOutcome.COMPLETED, {})
    opened = ConnectionFact(HARBOUR, "steady", ConnectionFactKind.STREAM_OPENED, world.now)
    said = named(HARBOUR, ("bus-1",), world.now)
    refused = good._replace(vehicle_id="v-other")
    await world.send(refused)  # so the next refusal is counted up, and another one is new
    unknown = good._replace(external_id="x-nobody")
    parts = (good, refused, unknown, broken)
    return submission(*parts, cycle=end, facts=(opened,), statements=(said,))


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def store(clock: TickingClock) -> MemoryStore:
    return MemoryStore(clock, days_ahead=None)


@pytest.fixture
async def world(store: MemoryStore) -> World:
    return await populate(store, InsideTwin(store))


def test_the_twin_knows_every_statement_of_the_unit_and_no_other() -> None:
    sources = {name: parse_blocks([(name, text)]).keys() for name, text in read_sources()}
    steps = sources["ingest.sql"] - {"load_last_unit"} | {"append_events"}  # which is a COPY
    methods = {name for name in vars(UnitStatements) if not name.startswith("_")}
    assert methods - {"execute"} == steps | sources["locks.sql"]
    assert steps == {*STEPS, "reread_devices"}


async def test_rows_of_another_version_than_was_read_are_not_written(
    world: World, store: MemoryStore
) -> None:
    statements = UnitStatements(UnitTables(store.tables), lambda: world.now, RowLocks())
    nothing = (None,) * 12
    states = Statement("write_device_states", columns([(HARBOUR, "bus-1", 3, 4, *nothing)]))
    snapshots = Statement("write_snapshots", columns([(HARBOUR, "bus-1", 3, 4, "{}")]))
    assert [statements.execute(statement) for statement in (states, snapshots)] == [
        [(0,)],
        [(0, world.now)],
    ]


async def test_a_twin_that_is_away_refuses_so_many_calls_of_any_store(
    world: World, store: MemoryStore
) -> None:
    store.go_away(for_next=2)
    with pytest.raises(DatabaseAway):
        await world.stores.reads.check_ready()
    with pytest.raises(DatabaseAway):
        await world.commit(submission())
    assert await world.stores.ingest.load_last_unit(world.session) == 0


async def test_a_twin_stays_away_until_it_comes_back(world: World, store: MemoryStore) -> None:
    store.go_away()
    for _ in range(3):
        with pytest.raises(DatabaseAway):
            await world.stores.sessions.load_config_versions()
    store.come_back()
    assert await world.config_version() > 1


async def test_who_listens_to_a_twin_hears_of_its_coming_back(store: MemoryStore) -> None:
    heard: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.notices.listen, heard.append)
        await trio.testing.wait_all_tasks_blocked()
        store.go_away()
        store.come_back()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert heard == ["", ""]


@pytest.mark.parametrize(("after", "version"), [(True, 1), (False, 0)])
async def test_the_last_unit_tells_if_a_lost_commit_was_carried_out(
    world: World, store: MemoryStore, *, after: bool, version: int
) -> None:
    store.lose_commit(after=after)
    update = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    with pytest.raises(CommitUnknown) as raised:
        await world.commit(submission(update))
    assert [result.version for result in raised.value.receipts[0].results] == [1]
    assert await world.stores.ingest.load_last_unit(world.session) == version
    assert (await world.snapshot("bus-1")).version == version
    # Once only.
    assert await world.send(update) == ["duplicate" if after else "accepted"]


async def test_declared_poison_spoils_its_unit_until_the_twin_is_cured(
    world: World, store: MemoryStore
) -> None:
    good = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    bad = world.update("bus-2", world.ago(minutes=3), soc_percent=50.0)
    store.poison(lambda update: update.device_id == "bus-2", sqlstate="22003")
    with pytest.raises(UnitPoisoned) as raised:
        await world.commit(submission(good), submission(bad))
    assert raised.value.sqlstate == "22003"
    assert await world.send(good) == ["accepted"]
    await world.stores.ingest.quarantine(world.session, 9, submission(bad), raised.value)
    assert [device_id for device_id, *_ in await world.inside.quarantined()] == ["bus-2"]
    store.cure()
    assert await world.send(bad) == ["accepted"]


async def test_nobody_sees_what_a_paused_unit_has_written(world: World, store: MemoryStore) -> None:
    pen = Pen("append_events")
    store.before_each_statement(pen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            world.send, world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
        )
        await pen.reached.wait()
        assert (await world.snapshot("bus-1")).version == 0
        assert (
            await world.stores.sessions.beat(world.session, ttl_seconds=15, statistics=VitalSigns())
            is not None
        )
        pen.go_on.set()
    assert (await world.snapshot("bus-1")).version == 1


async def test_writers_wait_for_a_paused_unit_but_not_for_ever(
    world: World, store: MemoryStore, autojump_clock: MockClock
) -> None:
    pen = Pen("append_events")
    store.before_each_statement(pen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            world.send, world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
        )
        await pen.reached.wait()
        with pytest.raises(DatabaseAway):
            await world.begin("shard-1")
        nursery.start_soon(world.begin, "shard-1")
        await trio.testing.wait_all_tasks_blocked()
        pen.go_on.set()
    assert (
        await world.snapshot("bus-1")
    ).version == 1  # the new session waited for the unit in flight


@pytest.mark.parametrize("failing", STEPS)
async def test_a_unit_that_fails_at_any_statement_leaves_nothing(
    world: World, store: MemoryStore, failing: str
) -> None:
    parts = await everything_at_once(world)
    before, reached = store.statistics().rows, []
    last_unit = await world.stores.ingest.load_last_unit(world.session)

    async def fail(statement: Statement) -> None:
        reached.append(statement.name)
        if statement.name == failing:
            raise DatabaseAway("pulled the plug")

    store.before_each_statement(fail)
    with pytest.raises(DatabaseAway):
        await world.commit(parts)
    assert reached == list(STEPS[: STEPS.index(failing) + 1])
    assert store.statistics().rows == before
    assert (await world.snapshot("bus-1")).version == 0
    assert await world.stores.ingest.load_last_unit(world.session) == last_unit
    assert await world.outcomes() == ["running"]


async def test_a_cancelled_unit_leaves_nothing_and_gives_up_its_turn(
    world: World, store: MemoryStore
) -> None:
    pen = Pen("append_events")
    store.before_each_statement(pen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            world.send, world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
        )
        await pen.reached.wait()
        nursery.cancel_scope.cancel()
    store.before_each_statement(None)
    assert (await world.snapshot("bus-1")).version == 0
    assert await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)) == [
        "accepted"
    ]


async def test_a_missing_partition_refuses_events_but_blames_no_data(
    world: World, clock: TickingClock
) -> None:
    clock.now += timedelta(days=2)
    with pytest.raises(DatabaseRefused):
        await world.send(world.update("bus-1", world.now, soc_percent=50.0))
    await world.stores.upkeep.ensure_partitions(days_ahead=1)
    assert await world.send(world.update("bus-1", world.now, soc_percent=50.0)) == ["accepted"]


async def test_retention_drops_whole_days_and_the_history_ends_there(
    world: World, clock: TickingClock
) -> None:
    await world.send(world.update("bus-1", world.now, soc_percent=50.0))
    clock.now += timedelta(days=1)
    await world.send(world.update("bus-1", world.now + timedelta(days=1), soc_percent=51.0))
    await world.send(world.update("bus-1", world.now, vehicle_id="v-other", soc_percent=1.0))
    clock.now += timedelta(days=2)
    dropped = await world.stores.upkeep.drop_expired(Retention(2, 2, 1, 1, 2))
    assert {table: rows for table, rows in dropped.items() if rows} == {
        "event_partitions": 1,
        "rejections": 1,
    }
    assert await world.sequences("bus-1") == [2]


async def test_a_new_twin_has_its_partitions_like_a_shard_that_started(clock: TickingClock) -> None:
    store = MemoryStore(clock)
    assert await store.reads.check_ready() == 7
