"""Lists for the API: their order, their pages, their filters."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import pytest

from domain.cutover import Cutover, PollOwner, ReadOwner
from domain.cycles import CycleTrigger
from domain.device_day import DayQuery
from ports.cutovers import new_draft
from ports.legacy import LegacyConfiguration
from ports.reads import EventPosition, FleetQuery, HealthQuery
from ports.sessions import VitalSigns
from tests.storage.contract.cast import HARBOUR, ISLAND, slot

if TYPE_CHECKING:
    from tests.storage.contract.cast import PostgresWorld

BY_OWNER = HealthQuery(by_read_owner=True)


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


async def test_snapshots_are_in_device_order_and_of_active_devices(world: PostgresWorld) -> None:
    await world.stores.registry.retire_device(HARBOUR, "bus-2")
    listed = world.stores.reads.list_snapshots
    read_at, rows = await listed(HARBOUR, after=None, limit=10)
    _, page = await listed(HARBOUR, after="bus-1", limit=1)
    assert [row.device.device_id for row in rows] == ["bus-1", "ferry-1", "tram-1"]
    assert [row.device.device_id for row in page] == ["ferry-1"]
    assert (rows[0].version, rows[0].document, rows[0].last_update_received_at) == (0, {}, None)
    assert timedelta(0) < read_at - world.now < timedelta(minutes=5)


async def test_a_fleet_is_measured_by_state_and_by_age(world: PostgresWorld) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    await world.send(world.update("bus-2", world.ago(minutes=100), soc_percent=50.0))
    await world.stores.registry.retire_device(HARBOUR, "tram-1")
    measure = world.stores.reads.measure_fleet
    found = await measure([HARBOUR, "nowhere"], age_bounds=(60, 600, 3600), by_workspace=True)
    _, counts = await world.stores.reads.count_states([HARBOUR], found.evaluated_at)
    assert found.states == counts
    assert list(found.ages) == [0, 1, 0, 1]  # the ferry was never heard
    assert 103 * 60 <= found.age_sum_seconds < 110 * 60


async def test_a_fleet_is_measured_as_a_whole(world: PostgresWorld) -> None:
    measure = world.stores.reads.measure_fleet
    found = await measure([HARBOUR, ISLAND], age_bounds=(60,), by_workspace=False)
    assert list(found.states) == [""]
    assert sum(found.states[""].values()) == 5
    assert list((await measure([], age_bounds=(60,), by_workspace=True)).ages) == [0, 0]


async def test_a_retired_device_still_has_its_snapshot(world: PostgresWorld) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    assert await world.values("bus-1") == {"soc_percent": 50.0}


async def test_what_does_not_exist_is_none(world: PostgresWorld) -> None:
    reads, registry = world.stores.reads, world.stores.registry
    assert await reads.get_snapshot(ISLAND, "bus-2") is None
    assert await reads.get_cycle(HARBOUR, "no-such-cycle") is None
    assert await registry.get_workspace("nowhere") is None
    assert await registry.get_provider(ISLAND, "liar") is None
    assert await registry.get_device(ISLAND, "bus-2") is None
    assert await reads.list_events(HARBOUR, "bus-77", before=None, limit=10) == []


async def test_values_come_back_as_they_were_sent(world: PostgresWorld) -> None:
    sent = {"soc_percent": 50, "odometer_km": 123456.789, "charging": True, "power_kw": -1e-7}
    await world.send(world.update("bus-1", world.ago(minutes=3), **sent))
    values = await world.values("bus-1")
    assert values == sent
    assert values["charging"] is True


async def test_a_day_counts_updates_in_its_buckets(world: PostgresWorld) -> None:
    before = world.now
    for minute in (9, 6, 3):
        await world.send(world.update("bus-1", world.ago(minutes=minute), soc_percent=minute))
    query = DayQuery(before - timedelta(minutes=1), before + timedelta(minutes=5), 6)
    day = await world.stores.reads.load_device_day(HARBOUR, "bus-1", query)
    assert day is not None
    assert (sum(part.updates for part in day.receipts), day.before_at) == (3, None)
    assert [point.value for point in day.signals["soc_percent"]][-1] == 3


async def test_a_day_after_the_updates_knows_the_last_one_before(world: PostgresWorld) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    (event,) = await world.stores.reads.list_events(HARBOUR, "bus-1", before=None, limit=9)
    query = DayQuery(world.now + timedelta(hours=1), world.now + timedelta(hours=2), 288)
    day = await world.stores.reads.load_device_day(HARBOUR, "bus-1", query)
    assert day is not None
    assert (day.receipts, day.signals, day.before_at) == ([], {}, event.recorded_at)


async def test_the_event_behind_a_value_is_found_by_its_times(world: PostgresWorld) -> None:
    for minute in (9, 6, 3):
        signals = {"soc_percent": 50.0} if minute == 6 else {"speed_kmh": 30.0}
        await world.send(world.update("bus-1", world.ago(minutes=minute), **signals))
    snapshot = await world.stores.reads.get_snapshot(HARBOUR, "bus-1")
    assert snapshot is not None
    held = snapshot[1].document["soc_percent"]
    find = world.stores.reads.find_event_behind
    event = await find(HARBOUR, "bus-1", "soc_percent", held)
    assert event is not None
    assert (event.sequence, await find(HARBOUR, "bus-1", "speed_kmh", held)) == (2, None)


async def test_events_are_newest_first_and_page_by_time_and_sequence(world: PostgresWorld) -> None:
    for minute in range(9, 4, -1):
        await world.send(world.update("bus-1", world.ago(minutes=minute), soc_percent=50.0))
        await world.send(world.update("bus-2", world.ago(minutes=minute), soc_percent=50.0))
    newest, fourth, *_ = await world.stores.reads.list_events(
        HARBOUR, "bus-1", before=None, limit=5
    )
    assert newest.recorded_at > fourth.recorded_at
    position = EventPosition(fourth.recorded_at, 4)
    page = await world.stores.reads.list_events(HARBOUR, "bus-1", before=position, limit=2)
    assert [(event.sequence, event.received_at) for event in page] == [
        (3, world.ago(minutes=7)),
        (2, world.ago(minutes=8)),
    ]
    assert await world.sequences("bus-1") == [5, 4, 3, 2, 1]


async def test_event_pages_are_complete_after_the_clock_was_set_back(
    world: PostgresWorld,
) -> None:
    for minute in (99, 98):
        await world.send(world.update("bus-1", world.ago(minutes=minute), soc_percent=50.0))
    await world.inside.set_clock_back(3600)
    for minute in (97, 96):
        await world.send(world.update("bus-1", world.ago(minutes=minute), soc_percent=50.0))
    seen: list[int] = []
    before: EventPosition | None = None
    while page := await world.stores.reads.list_events(HARBOUR, "bus-1", before=before, limit=1):
        seen.append(page[0].sequence)
        before = EventPosition(page[0].recorded_at, page[0].sequence)
    assert seen == [2, 1, 4, 3]


async def test_cycles_are_newest_slot_first_and_page_by_their_key(world: PostgresWorld) -> None:
    keys = [
        slot(1),
        slot(0, attempt=2),
        slot(0),
        slot(0, CycleTrigger.MANUAL),
        slot(0, CycleTrigger.LATE),
    ]
    for key in reversed(keys):
        assert (await world.start(key)).key == key
    cycles = world.stores.reads.list_cycles
    assert [cycle.key for cycle in await cycles(HARBOUR, before=None, limit=10)] == keys
    assert [cycle.key for cycle in await cycles(HARBOUR, before=keys[1], limit=2)] == keys[2:4]
    assert await cycles(ISLAND, before=None, limit=10) == []


async def test_rejections_are_newest_first_and_can_be_told_by_reason(world: PostgresWorld) -> None:
    at = world.ago(minutes=3)
    lie = world.update("tram-1", at, vehicle_id="v-other", soc_percent=50.0)
    again = lie._replace(external_id="x-other")
    for update in (lie, lie._replace(device_id="tram-7"), again):
        await world.send(update)
    listed = world.stores.reads.list_rejections
    newest, middle, oldest = await listed(HARBOUR, before=None, reason=None, limit=10)
    assert newest.rejection_id > middle.rejection_id > oldest.rejection_id
    assert await listed(HARBOUR, before=newest.rejection_id, reason=None, limit=1) == [middle]
    assert await listed(HARBOUR, before=None, reason="identity_conflict", limit=10) == [
        newest,
        oldest,
    ]
    assert await listed(ISLAND, before=None, reason=None, limit=10) == []


async def test_a_cycle_is_found_by_its_id_as_it_is_listed(world: PostgresWorld) -> None:
    start = await world.start(slot())
    (listed,) = await world.stores.reads.list_cycles(HARBOUR, before=None, limit=10)
    assert await world.stores.reads.get_cycle(HARBOUR, start.cycle_id) == listed


async def test_shards_are_listed_with_vital_signs_the_liveliest_first(world: PostgresWorld) -> None:
    await world.begin("shard-0", ttl_seconds=5)
    vital_signs = VitalSigns(oldest_waiting_seconds=0.5)
    await world.stores.sessions.beat(world.session, ttl_seconds=60, statistics=vital_signs)
    shards = await world.stores.reads.load_shards()
    assert [(shard["shard_id"], shard["state"], shard["statistics"]) for shard in shards] == [
        ("shard-1", "live", orjson.loads(orjson.dumps(vital_signs))),
        ("shard-0", "live", {}),
    ]
    vital = {
        "statistics",
        "last_unit",
        "started_at",
        "ended_at",
        "beat_at",
        "expires_at",
        "draining",
    }
    assert set(shards[0]) == {"shard_id", "epoch", "state", *vital}
    assert str(shards[0]["beat_at"]).endswith("Z")


async def test_a_fleet_has_its_configuration_and_its_active_devices(world: PostgresWorld) -> None:
    await world.stores.registry.retire_device(HARBOUR, "bus-2")
    fleet = await world.stores.reads.load_fleet(HARBOUR, FleetQuery())
    assert fleet is not None
    assert fleet.workspace == await world.stores.registry.get_workspace(HARBOUR)
    assert [device.device_id for device in fleet.devices] == ["bus-1", "ferry-1", "tram-1"]
    links = await world.stores.registry.list_providers(HARBOUR, after=None, limit=None)
    assert fleet.connections == {link.provider_id: link for link in links}
    assert fleet.legacy is None
    assert await world.stores.reads.load_fleet("nowhere", FleetQuery()) is None


@pytest.mark.parametrize(
    ("query", "devices"),
    [
        (FleetQuery(after="bus-1", limit=1), ["ferry-1"]),
        (FleetQuery(device_id="bus-2"), ["bus-2"]),  # retired
        (FleetQuery(device_id="bus-77"), []),
    ],
)
async def test_a_fleet_can_be_asked_for_a_part(
    world: PostgresWorld, query: FleetQuery, devices: list[str]
) -> None:
    await world.stores.registry.retire_device(HARBOUR, "bus-2")
    fleet = await world.stores.reads.load_fleet(HARBOUR, query)
    assert fleet is not None
    assert [device.device_id for device in fleet.devices] == devices


async def test_workspaces_that_a_legacy_system_shows_are_left_to_it(world: PostgresWorld) -> None:
    shape = {"values": {"path": "/state"}}
    legacy = LegacyConfiguration("https://legacy.example", "env:OLD", shape)
    flags = Cutover(poll_owner=PollOwner.BOTH_SHADOW, read_owner=ReadOwner.LEGACY)
    draft = new_draft()._replace(flags=flags, legacy=legacy)
    await world.stores.cutovers.put_cutover(HARBOUR, draft=draft)
    load = world.stores.reads.load_health
    everything, by_owner = await load(None, HealthQuery()), await load(None, BY_OWNER)
    assert everything.left_to_legacy == frozenset()
    assert by_owner.left_to_legacy == {HARBOUR}
    assert {facts.device.workspace_id for facts in everything.rows} == {HARBOUR, ISLAND}
    assert {facts.device.workspace_id for facts in by_owner.rows} == {ISLAND}
    assert sum(by_owner.counts.values()) == len(by_owner.rows)
    # Asked about one workspace, or about those in use only.
    assert (await load(frozenset({ISLAND}), BY_OWNER)).left_to_legacy == frozenset()
    await world.stores.registry.put_workspace(HARBOUR, name="Harbour", active=False)
    assert (await load(None, BY_OWNER)).left_to_legacy == frozenset()
    switched_off = await load(None, BY_OWNER._replace(with_inactive=True))
    assert switched_off.left_to_legacy == {HARBOUR}
    fleet = await world.stores.reads.load_fleet(HARBOUR, FleetQuery())
    assert fleet is not None
    assert fleet.legacy == legacy
