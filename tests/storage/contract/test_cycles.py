"""Which cycles may start, and which records those leave that do not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from domain.cycles import CycleEnd, CycleOutcome, CycleTrigger
from domain.schedule import cycle_id
from ports.cycles import AbandonedCycle, CycleHistory, WantedCycle
from storage.faults import DatabaseRefused
from tests.storage.contract.cast import HARBOUR, ISLAND, slot

if TYPE_CHECKING:
    from domain.cycles import CycleKey
    from domain.model import SessionRef
    from ports.cycles import CyclesInBulk, CycleStart
    from tests.storage.contract.cast import World

LATE, MANUAL = CycleTrigger.LATE, CycleTrigger.MANUAL


async def take(world: World, session: SessionRef | None = None) -> CycleStart | None:
    """Take a requested cycle, as an owner with the present configuration."""
    version = await world.config_version()
    return await world.stores.cycles.take_requested_cycle(
        session or world.session, HARBOUR, version
    )


async def test_a_started_cycle_is_running_under_its_session(world: World) -> None:
    start = await world.start(slot())
    assert start[:3] == (True, slot(), cycle_id(slot()))
    cycle = await world.cycle(start.cycle_id)
    assert cycle is not None
    assert (cycle.outcome, cycle.shard_id, cycle.trace_id, cycle.summary) == (
        "running",
        "shard-1",
        "trace-c",
        {},
    )
    assert cycle.started_at is not None
    assert (cycle.requested_at, cycle.ended_at) == (None, None)


async def test_a_slot_with_a_completed_cycle_is_not_repeated(world: World) -> None:
    await world.end(await world.start(slot()))
    assert not (await world.start(slot())).started
    assert not (await world.start(slot(trigger=LATE))).started
    assert (await world.start(slot(1))).started


async def test_a_slot_with_an_incomplete_cycle_gets_another_attempt(world: World) -> None:
    await world.end(await world.start(slot()), CycleOutcome.PARTIAL)
    second, third = await world.start(slot()), await world.start(slot())
    assert [start.key.attempt for start in (second, third)] == [2, 3]
    assert [start.cycle_id for start in (second, third)] == [
        cycle_id(second.key),
        cycle_id(third.key),
    ]


async def test_attempts_are_counted_for_each_trigger(world: World) -> None:
    await world.start(slot())
    assert (await world.start(slot(trigger=LATE))).key == slot(trigger=LATE)


async def test_runs_on_demand_and_slots_do_not_affect_each_other(world: World) -> None:
    await world.end(await world.start(slot(trigger=MANUAL)))
    regular = await world.start(slot())
    assert regular.started
    await world.end(regular)
    assert (await world.start(slot(trigger=MANUAL))).key == slot(trigger=MANUAL, attempt=2)


async def test_two_shards_that_start_one_slot_get_an_attempt_each(world: World) -> None:
    other = await world.begin("shard-2")
    starts: list[CycleStart] = []

    async def start(session: SessionRef) -> None:
        starts.append(await world.start(slot(), session))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, world.session)
        nursery.start_soon(start, other)
    assert sorted(start.key.attempt for start in starts) == [1, 2]


async def test_a_session_that_is_over_changes_no_cycle_and_no_request(
    world: World,
) -> None:
    await world.start(slot())
    await world.stores.registry.request_cycle(HARBOUR, "trace-a")
    await world.begin("shard-1")
    cycles, former = world.stores.cycles, world.session
    assert not (await world.start(slot(1))).started
    await cycles.record_missed(former, HARBOUR, [slot(2).slot_start_at])
    assert await cycles.abandon_orphans(former, HARBOUR) == []
    assert await take(world, former) is None
    assert await world.outcomes() == ["requested", "running"]


async def test_exactly_the_running_cycles_are_abandoned(world: World) -> None:
    other = await world.begin("shard-2")
    orphan = await world.start(slot(), other)
    await world.end(await world.start(slot(1)))
    await world.start(slot(2))
    await world.stores.registry.request_cycle(HARBOUR, "trace-a")
    abandoned = await world.stores.cycles.abandon_orphans(world.session, HARBOUR)
    assert sorted(await world.outcomes()) == ["abandoned", "abandoned", "completed", "requested"]
    assert await world.stores.cycles.abandon_orphans(world.session, HARBOUR) == []
    cycle = await world.cycle(orphan.cycle_id)
    assert cycle is not None
    assert cycle.ended_at is not None
    end = CycleEnd(cycle.key, orphan.cycle_id, cycle.ended_at, CycleOutcome.ABANDONED, {})
    (own,) = [each for each in abandoned if each.end.cycle_id != orphan.cycle_id]
    assert AbandonedCycle("trace-c", end) in abandoned
    assert own.end.key == slot(2)


async def test_the_former_epoch_of_ones_own_shard_leaves_orphans_too(world: World) -> None:
    await world.start(slot())
    abandoned = await world.stores.cycles.abandon_orphans(await world.begin("shard-1"), HARBOUR)
    assert len(abandoned) == 1


async def test_a_missed_slot_is_recorded_once_and_a_tried_one_is_not(world: World) -> None:
    await world.start(slot(1, LATE))
    slots = [slot(number).slot_start_at for number in (0, 1, 2, 2)]
    for _ in range(2):
        await world.stores.cycles.record_missed(world.session, HARBOUR, slots)
    assert await world.outcomes() == ["missed", "running", "missed"]
    missed = await world.cycle(cycle_id(slot()))
    assert missed is not None
    assert (missed.key, missed.trace_id, missed.started_at) == (slot(), missed.cycle_id, None)


async def test_a_request_is_taken_once(world: World) -> None:
    wanted = await world.stores.registry.request_cycle(HARBOUR, "trace-a")
    taken = await take(world)
    assert taken is not None
    assert (taken.started, taken.cycle_id, taken.trace_id) == (True, wanted, "trace-a")
    assert (taken.key.trigger, taken.key.attempt) == (MANUAL, 1)
    assert await take(world) is None
    assert await world.outcomes() == ["running"]
    # The next request is another run.
    assert await world.stores.registry.request_cycle(HARBOUR, "trace-b") != wanted


async def test_a_request_waits_for_an_owner_with_its_configuration(
    world: World,
) -> None:
    former = await world.config_version()
    await world.put_workspace(HARBOUR, poll_interval_seconds=77)
    await world.stores.registry.request_cycle(HARBOUR, "trace-a")
    assert await world.stores.cycles.take_requested_cycle(world.session, HARBOUR, former) is None
    assert await world.outcomes() == ["requested"]
    assert await take(world) is not None


async def test_the_last_slot_is_that_of_the_schedule(world: World) -> None:
    assert (await world.stores.cycles.look_back(HARBOUR)).last_slot is None
    await world.start(slot(1))
    await world.start(slot())
    await world.stores.registry.request_cycle(HARBOUR, "trace-a")
    assert (await world.stores.cycles.look_back(HARBOUR)).last_slot == slot(1).slot_start_at


async def test_a_cycle_needs_its_workspace(world: World) -> None:
    with pytest.raises(DatabaseRefused):
        await world.start(slot()._replace(workspace_id="nowhere"))


async def test_connections_with_a_silent_device_are_found(world: World) -> None:
    find = world.stores.cycles.find_silent_connections
    assert await find(HARBOUR, {"steady": 3600.0, "nobody": 3600.0}) == {"steady"}
    assert await find(HARBOUR, {}) == frozenset()


async def test_each_record_keeps_how_many_devices_were_fresh(world: World) -> None:
    """Harbour has four devices. One reports, over a stream."""
    await world.send(world.update("bus-1", world.now, soc_percent=50.0))
    now = world.now
    key = slot()._replace(slot_start_at=now - timedelta(seconds=30))
    ended = await world.start(key)
    await world.end(ended)
    await world.start(key._replace(slot_start_at=now - timedelta(seconds=20)))
    await world.stores.cycles.abandon_orphans(world.session, HARBOUR)
    before, after = now - timedelta(seconds=90), now + timedelta(seconds=200)
    await world.stores.cycles.record_missed(world.session, HARBOUR, [before, after])
    cycles = await world.stores.reads.list_cycles(HARBOUR, before=None, limit=9)
    assert [(one.outcome, one[-3:]) for one in cycles] == [
        ("missed", (4, 1, 1)),
        ("abandoned", (4, 1, 1)),
        ("completed", (4, 1, 1)),
        ("missed", (4, 0, 0)),
    ]


def in_bulk(world: World) -> CyclesInBulk:
    """Return the same store: it implements both ports."""
    return cast("CyclesInBulk", world.stores.cycles)


async def start_all(world: World, *keys: CycleKey, **rest: Any) -> list[CycleStart | None]:
    wanted = [WantedCycle(key, cycle_id(key), "trace-c")._replace(**rest) for key in keys]
    return list(await in_bulk(world).start_cycles(world.session, wanted))


async def test_many_cycles_start_at_once(world: World) -> None:
    ended = await world.start(slot())
    await world.end(ended)
    other = slot()._replace(workspace_id=ISLAND)
    closed, started = await start_all(world, slot(), other)
    assert closed is not None
    assert started is not None
    assert (closed.started, started.started) == (False, True)
    again = (await start_all(world, other))[0]
    assert again is not None
    assert (again.started, again.key.attempt) == (True, 2)


async def test_a_cycle_may_be_recorded_before_it_is_due(world: World) -> None:
    due_at = world.now + timedelta(seconds=60)
    (started,) = await start_all(world, slot(), due_at=due_at)
    assert started is not None
    assert started.started_at == due_at
    assert await world.outcomes() == ["running"]


async def test_a_skipped_cycle_ends_as_it_starts(world: World) -> None:
    summary = {"skipped": "the legacy system collects"}
    await start_all(world, slot(), slot()._replace(workspace_id=ISLAND), skipped=summary)
    (row,) = await world.stores.reads.list_cycles(HARBOUR, before=None, limit=9)
    assert (row.outcome, row.summary, row[-3:]) == ("skipped", summary, (4, 0, 0))
    assert row.ended_at == row.started_at
    history = await world.stores.cycles.look_back(HARBOUR)
    assert history == CycleHistory(False, False, slot().slot_start_at)


async def test_a_session_that_is_over_starts_none_of_many(world: World) -> None:
    former = world.session
    await world.begin("shard-1")
    wanted = [WantedCycle(slot(), cycle_id(slot()), "trace-c")]
    (answer,) = await in_bulk(world).start_cycles(former, wanted)
    assert answer is not None
    assert not answer.started
    assert await world.outcomes() == []


async def test_a_look_back_finds_what_is_open(world: World) -> None:
    await world.start(slot())
    await world.stores.registry.request_cycle(HARBOUR, "trace-a")
    found = await in_bulk(world).look_back_at([ISLAND, HARBOUR])
    assert found == [
        CycleHistory(False, False, None),
        CycleHistory(True, True, slot().slot_start_at),
    ]


async def test_one_refused_start_leaves_all_to_be_asked_for_alone(world: World) -> None:
    assert await start_all(world, slot(), slot()._replace(workspace_id="nowhere")) == [None, None]
    assert (await world.start(slot())).key.attempt == 1


async def test_missed_slots_of_many_are_recorded_at_once(world: World) -> None:
    await world.start(slot())
    missed = {HARBOUR: [slot().slot_start_at, slot(1).slot_start_at], ISLAND: []}
    done = await in_bulk(world).record_all_missed(world.session, missed)
    assert done == {HARBOUR, ISLAND}
    assert await world.outcomes() == ["missed", "running"]
