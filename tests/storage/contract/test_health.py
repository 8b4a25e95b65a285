"""Health facts: the devices, their order, the counts by state, and the facts for each verdict."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from domain.cycles import CycleOutcome
from domain.health_facts import CollectorRecord, ConnectionRecord
from domain.health_state import State
from domain.model import PolicyOverride
from ports.reads import HealthQuery, WorklistPosition
from ports.sessions import VitalSigns
from tests.storage.contract.cast import (
    HARBOUR,
    HARBOUR_LEASE,
    ISLAND,
    ISLAND_LEASE,
    connection,
    slot,
)

if TYPE_CHECKING:
    from typing import Any

    from ports.reads import HealthPage
    from tests.storage.contract.cast import PostgresWorld


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


HEALTHY, DELAYED, STALE = State.HEALTHY, State.DELAYED, State.STALE
NO_DATA, AWAITING = State.CONFIGURED_NO_DATA, State.AWAITING_FIRST_DATA


def devices(page: HealthPage) -> list[tuple[str, str]]:
    return [(facts.device.workspace_id, facts.device.device_id) for facts in page.rows]


def counted(**states: int) -> dict[State, int]:
    """Return counts by state; states that are not given have 0."""
    return dict.fromkeys(State, 0) | {State[name]: number for name, number in states.items()}


async def hear(world: PostgresWorld, **minutes: float) -> None:
    """Commit updates of harbour devices, so many minutes ago. `bus_1` is bus-1."""
    heard = {name.replace("_", "-"): world.ago(minutes=ago) for name, ago in minutes.items()}
    outcomes = await world.send(
        *(world.update(name, at, soc_percent=50.0) for name, at in heard.items())
    )
    assert outcomes == ["accepted"] * len(heard)


async def test_every_active_device_is_counted_in_exactly_one_state(world: PostgresWorld) -> None:
    await hear(world, bus_1=3, bus_2=9, tram_1=22)
    page = await world.health(HARBOUR, ISLAND)
    # The ferry's connection promises one record an hour, so two hours of silence are not late.
    assert page.counts == counted(
        HEALTHY=1, DELAYED=1, STALE=1, AWAITING_FIRST_DATA=1, CONFIGURED_NO_DATA=1
    )
    assert page.evaluated_at == world.now


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(seconds=360), HEALTHY),
        (timedelta(seconds=360, microseconds=1), DELAYED),
        (timedelta(seconds=900), DELAYED),
        (timedelta(seconds=900, microseconds=1), STALE),
    ],
)
async def test_the_boundaries_of_freshness_are_exact(
    world: PostgresWorld, age: timedelta, state: State
) -> None:
    await world.send(world.update("bus-1", world.now - age, soc_percent=50.0))
    page = await world.health(HARBOUR, states=frozenset({state}))
    assert devices(page) == [(HARBOUR, "bus-1")]


@pytest.mark.parametrize(("seconds", "state"), [(3600, AWAITING), (3601, NO_DATA)])
async def test_the_boundary_of_grace_is_exact(
    world: PostgresWorld, seconds: int, state: State
) -> None:
    draft = world.draft("bus-8", activated_at=world.ago(seconds=seconds))
    await world.stores.registry.put_devices(HARBOUR, [draft])
    page = await world.health(HARBOUR, states=frozenset({state}))
    assert (HARBOUR, "bus-8") in devices(page)


@pytest.mark.parametrize(
    ("of_device", "of_connection", "state"),
    [
        (None, {}, STALE),
        (60.0 * 60, {}, DELAYED),
        (None, {"override": PolicyOverride(stale_after_seconds=3600.0)}, DELAYED),
        (1500.0, {"override": PolicyOverride(stale_after_seconds=60.0)}, DELAYED),
        (None, {"expected_update_seconds": 3600.0}, HEALTHY),
        (1.0, {"expected_update_seconds": 3600.0}, HEALTHY),
    ],
)
async def test_thresholds_come_from_the_nearest_place_that_sets_them(
    world: PostgresWorld, of_device: float | None, of_connection: dict[str, Any], state: State
) -> None:
    await hear(world, tram_1=22)
    await world.stores.registry.put_provider(connection("liar", **of_connection))
    draft = world.draft("tram-1", provider_id="liar", stale_after_seconds=of_device)
    await world.stores.registry.put_devices(HARBOUR, [draft])
    page = await world.health(HARBOUR, states=frozenset({state}))
    assert (HARBOUR, "tram-1") in devices(page)


async def test_a_filter_narrows_the_rows_and_not_the_counts(world: PostgresWorld) -> None:
    await hear(world, bus_1=3, bus_2=22)
    page = await world.health(HARBOUR, states=frozenset({STALE, NO_DATA}))
    assert devices(page) == [(HARBOUR, "bus-2"), (HARBOUR, "tram-1")]
    assert sum(page.counts.values()) == 4


async def test_the_worklist_is_silent_longest_first_across_workspaces(world: PostgresWorld) -> None:
    await hear(world, bus_1=30, bus_2=40)
    late = world.draft("bus-9", activated_at=world.ago(minutes=35))
    await world.stores.registry.put_devices(ISLAND, [late])
    page = await world.health(order="silence")
    assert devices(page) == [
        (HARBOUR, "ferry-1"),
        (HARBOUR, "tram-1"),
        (ISLAND, "bus-1"),
        (HARBOUR, "bus-2"),
        (ISLAND, "bus-9"),
        (HARBOUR, "bus-1"),
    ]


@pytest.mark.parametrize("order", ["device", "silence"])
async def test_pages_follow_on_without_gap_or_overlap(world: PostgresWorld, order: Any) -> None:
    await hear(world, bus_1=30, bus_2=30, tram_1=30)
    whole = await world.health(order=order)
    found: list[tuple[str, str]] = []
    after = None
    while rows := (await world.health(order=order, limit=2, after=after)).rows:
        last = rows[-1]
        after = WorklistPosition(last.away_since, last.device.workspace_id, last.device.device_id)
        found += [(row.device.workspace_id, row.device.device_id) for row in rows]
    assert found == devices(whole)
    assert len(found) == 5


async def test_beyond_the_last_page_the_counts_still_stand(world: PostgresWorld) -> None:
    page = await world.health(after=WorklistPosition(world.now, "zoo", "zebra"))
    assert page.rows == []
    assert page.counts == counted(CONFIGURED_NO_DATA=4, AWAITING_FIRST_DATA=1)


async def test_what_is_inactive_or_retired_or_not_allowed_is_not_there(
    world: PostgresWorld,
) -> None:
    await world.put_workspace(ISLAND, active=False)
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    everywhere, nowhere = await world.health(), await world.health("nowhere")
    assert devices(everywhere) == [(HARBOUR, "bus-2"), (HARBOUR, "ferry-1"), (HARBOUR, "tram-1")]
    assert (nowhere.rows, nowhere.counts) == ([], counted())
    assert devices(await world.health(ISLAND)) == []


async def test_a_key_for_no_workspace_sees_nothing(world: PostgresWorld) -> None:
    page = await world.stores.reads.load_health(frozenset(), HealthQuery())
    assert (page.rows, page.counts) == ([], counted())


async def test_without_a_pinned_instant_the_databases_time_holds(world: PostgresWorld) -> None:
    page = await world.health(now=None)
    assert timedelta(0) < page.evaluated_at - world.now < timedelta(minutes=5)


async def test_a_row_brings_everything_that_its_verdict_may_use(world: PostgresWorld) -> None:
    await world.stores.sessions.beat(
        world.session, ttl_seconds=15, statistics=VitalSigns(oldest_waiting_seconds=0.5)
    )
    await world.stores.leases.claim(world.session, [HARBOUR_LEASE])
    first = await world.start(slot())
    ended_at = await world.end(first, CycleOutcome.PARTIAL)
    newest = await world.start(slot(1))
    await hear(world, bus_1=3)
    await world.send(
        world.update("bus-1", world.ago(minutes=1), vehicle_id="v-other", soc_percent=1.0)
    )
    cycle = await world.stores.reads.get_cycle(HARBOUR, newest.cycle_id)
    earlier = await world.stores.reads.get_cycle(HARBOUR, first.cycle_id)
    (shard,) = await world.stores.reads.load_shards()
    facts = (await world.health(HARBOUR)).rows[0]
    assert cycle is not None
    assert earlier is not None
    assert (facts.workspace, facts.connection, facts.device) == (
        await world.stores.registry.get_workspace(HARBOUR),
        await world.stores.registry.get_provider(HARBOUR, "steady"),
        await world.stores.registry.get_device(HARBOUR, "bus-1"),
    )
    expires_at = facts.collector.owner_expires_at
    assert expires_at is not None
    assert expires_at.isoformat().replace("+00:00", "Z") == shard["expires_at"]
    collector = CollectorRecord(
        last_good_cycle_at=ended_at,
        last_cycle_started_at=cycle.started_at,
        last_cycle_outcome="running",
        last_slot_start_at=slot(1).slot_start_at,
        earlier_cycle_started_at=earlier.started_at,
        owner="shard-1",
        owner_expires_at=expires_at,
        oldest_waiting_seconds=0.5,
    )
    assert (facts.connection_record, facts.collector) == (ConnectionRecord(), collector)
    at = world.ago(minutes=3)
    held = facts.document["soc_percent"]
    assert (facts.version, held.value, held.observed_at) == (1, 50.0, at)
    assert (facts.last_update_received_at, facts.last_observed_at, facts.last_changed_at) == (
        at,
        at,
        at,
    )
    assert (facts.last_rejected_at, facts.last_rejection_reason) == (
        world.ago(minutes=1),
        "identity_conflict",
    )


async def test_deferred_submissions_count_for_their_own_workspace_only(
    world: PostgresWorld,
) -> None:
    """One shard has two workspaces. A row of the harbour has been locked for two minutes."""
    vital_signs = VitalSigns(oldest_waiting_seconds=0.5, deferred_seconds={HARBOUR: 120.25})
    await world.stores.sessions.beat(world.session, ttl_seconds=15, statistics=vital_signs)
    await world.stores.leases.claim(world.session, [HARBOUR_LEASE, ISLAND_LEASE])
    waits = {}
    for workspace_id in (HARBOUR, ISLAND):
        rows = (await world.health(workspace_id)).rows
        waits[workspace_id] = {row.collector.oldest_waiting_seconds for row in rows}
    assert waits == {HARBOUR: {120.25}, ISLAND: {0.5}}


async def test_what_waits_in_streams_is_told_by_connection(world: PostgresWorld) -> None:
    waiting = {HARBOUR: {"live": 40.5}, ISLAND: {"far": 2.0}}
    vital_signs = VitalSigns(stream_waiting_seconds=waiting)
    await world.stores.sessions.beat(world.session, ttl_seconds=15, statistics=vital_signs)
    await world.stores.leases.claim(world.session, [HARBOUR_LEASE])
    found = [
        row.collector.stream_waiting_seconds
        for workspace_id in (HARBOUR, ISLAND)
        for row in (await world.health(workspace_id)).rows[:1]
    ]
    assert found == [{"live": 40.5}, {}]  # nobody owns the island


async def test_the_owner_is_told_by_the_lease_not_by_the_newest_cycle(
    world: PostgresWorld,
) -> None:
    """A completed slot is not repeated, so a new owner may run no cycle for a whole interval."""
    leases, former = world.stores.leases, world.session
    tokens = await leases.claim(former, [HARBOUR_LEASE])
    await world.end(await world.start(slot()))
    await leases.release(former, tokens)
    await world.stores.sessions.end_session(former)
    free = (await world.health(HARBOUR)).rows[0].collector
    assert (free.owner, free.owner_expires_at, free.last_cycle_outcome) == (None, None, "completed")
    successor = await world.begin("shard-2")
    await leases.claim(successor, [HARBOUR_LEASE])
    owned = (await world.health(HARBOUR)).rows[0].collector
    assert owned.owner == "shard-2"
    assert owned.owner_expires_at is not None
    assert owned.owner_expires_at > world.now


async def test_a_workspace_that_nobody_collected_has_no_collector(world: PostgresWorld) -> None:
    await world.stores.cycles.record_missed(world.session, HARBOUR, [slot().slot_start_at])
    assert (await world.health(HARBOUR)).rows[0].collector == CollectorRecord()


async def test_a_pause_is_told_only_while_every_live_shard_is_paused(world: PostgresWorld) -> None:
    async def is_paused() -> bool:
        return (await world.health(HARBOUR)).rows[0].collector.is_paused

    sessions, paused = world.stores.sessions, VitalSigns(paused=True)
    assert not await is_paused()
    await sessions.beat(world.session, ttl_seconds=15, statistics=paused)
    assert await is_paused()
    collecting = await world.begin("shard-2")
    assert not await is_paused()
    await sessions.end_session(collecting)
    assert await is_paused()
    await sessions.end_session(world.session)
    assert not await is_paused()  # nobody runs: that is not a pause
