"""A shard's session and heartbeat, and what the heartbeat reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from domain.model import CursorAdvance, Policy, SessionRef, Workspace
from ports.sessions import VitalSigns
from tests.storage.contract.cast import HARBOUR, ISLAND, connection, submission

if TYPE_CHECKING:
    from tests.storage.contract.cast import World


VITAL_SIGNS = VitalSigns(oldest_waiting_seconds=0.5)


async def beat(world: World, session: SessionRef, ttl_seconds: float = 15) -> bool:
    at = await world.stores.sessions.beat(session, ttl_seconds=ttl_seconds, statistics=VITAL_SIGNS)
    return at is not None


async def test_every_boot_of_a_shard_has_an_epoch_of_its_own(world: World) -> None:
    again, other = await world.begin("shard-1"), await world.begin("shard-2")
    assert again == SessionRef("shard-1", world.session.epoch + 1)
    assert other == SessionRef("shard-2", 1)


async def test_a_session_that_another_boot_replaced_is_over(world: World) -> None:
    assert await beat(world, world.session)
    again = await world.begin("shard-1")
    assert not await beat(world, world.session)
    assert await beat(world, again)


async def test_a_rejoin_never_takes_the_row_from_a_later_boot(
    world: World,
) -> None:
    begin = world.stores.sessions.begin_session
    again = await begin("shard-1", ttl_seconds=15, after=world.session)
    assert again is not None
    assert again.session.epoch == world.session.epoch + 1
    assert await begin("shard-1", ttl_seconds=15, after=world.session) is None
    assert await beat(world, again.session)


async def test_only_the_same_boot_may_repeat_a_rejoin(
    world: World,
) -> None:
    begin = world.stores.sessions.begin_session
    lost = await begin("shard-1", ttl_seconds=15, after=world.session, boot_id="ours")
    assert lost is not None
    assert await begin("shard-1", ttl_seconds=15, after=world.session, boot_id="another's") is None
    assert await begin("shard-1", ttl_seconds=15, after=world.session) is None
    again = await begin("shard-1", ttl_seconds=15, after=world.session, boot_id="ours")
    assert again is not None
    assert again.session.epoch == lost.session.epoch + 1
    assert not await beat(world, lost.session)


@pytest.mark.parametrize("shard_id", ["shard-1", "shard-2"])
async def test_epochs_grow_even_after_the_database_forgot_some(world: World, shard_id: str) -> None:
    remembered = SessionRef(shard_id, 7)
    start = await world.stores.sessions.begin_session(shard_id, ttl_seconds=15, after=remembered)
    assert start is not None
    assert start.session == SessionRef(shard_id, 8)


async def test_draining_lasts_until_the_session_ends_and_no_longer(
    world: World,
) -> None:
    async def draining() -> bool:
        return (await world.inside.session_row("shard-1")).draining

    await world.stores.sessions.start_draining(world.session)
    assert await beat(world, world.session)
    assert await draining()
    await world.commit(submission())
    again = await world.begin("shard-1")
    await world.stores.sessions.start_draining(world.session)
    assert not await draining()
    assert await beat(world, again)


async def test_a_session_that_is_no_member_gets_no_work_and_stays_live(world: World) -> None:
    start = await world.stores.sessions.begin_session("shard-2", ttl_seconds=15, is_member=False)
    assert start is not None
    assert await beat(world, start.session)
    look = await world.stores.leases.look(world.session)
    assert look.members == {"shard-1"}
    again = await world.begin("shard-2")
    look = await world.stores.leases.look(world.session)
    assert (again.epoch, look.members) == (2, frozenset({"shard-1", "shard-2"}))


async def test_a_boot_is_told_whether_a_session_was_live_until_now(world: World) -> None:
    begin = world.stores.sessions.begin_session
    second = await begin("shard-1", ttl_seconds=15)
    assert second is not None
    await world.stores.sessions.end_session(second.session)
    third, other = await begin("shard-1", ttl_seconds=15), await begin("shard-9", ttl_seconds=15)
    assert third is not None
    assert other is not None
    assert (second.was_live, third.was_live, other.was_live) == (True, False, False)


async def test_a_heartbeat_tells_the_databases_time(world: World) -> None:
    at = await world.stores.sessions.beat(world.session, ttl_seconds=15, statistics=VitalSigns())
    assert at is not None
    assert timedelta(0) < at - world.now < timedelta(minutes=5)


async def test_an_ended_session_is_over_and_its_heartbeat_with_it(world: World) -> None:
    session = await world.begin("shard-1", ttl_seconds=3600)
    await world.stores.sessions.end_session(session)
    assert not await beat(world, session)
    shard = await world.inside.session_row("shard-1")
    assert shard.state == "ended"
    assert shard.ended_at is not None
    assert timedelta(0) <= shard.expires_at - shard.ended_at < timedelta(minutes=5)


async def test_ending_a_session_of_former_times_changes_nothing(world: World) -> None:
    again = await world.begin("shard-1")
    await world.stores.sessions.end_session(world.session)
    assert await beat(world, again)


async def test_config_versions_are_those_of_all_workspaces(world: World) -> None:
    before = await world.stores.sessions.load_config_versions()
    await world.put_workspace(ISLAND, active=False)
    after = await world.stores.sessions.load_config_versions()
    assert after == {**before, ISLAND: before[ISLAND] + 1}


async def test_a_fleet_has_its_connections_cursors_and_active_devices(
    world: World,
) -> None:
    await world.stores.registry.put_provider(connection("liar", active=False))
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    await world.commit(submission(cursor=CursorAdvance(HARBOUR, "slow", "page-7")))
    fleet = await world.stores.sessions.load_fleet(HARBOUR)
    assert fleet is not None
    assert replace(fleet.workspace, scheduled_since=None) == Workspace(
        *(HARBOUR, "Harbour", True, 0, 300, Policy()), await world.config_version()
    )
    assert [(item.provider_id, item.active) for item in fleet.connections] == [
        ("liar", False),
        ("slow", True),
        ("steady", True),
    ]
    assert [device.device_id for device in fleet.devices] == ["bus-2", "ferry-1", "tram-1"]
    assert fleet.cursors == {"slow": "page-7"}


async def test_there_is_no_fleet_of_an_unknown_workspace(world: World) -> None:
    assert await world.stores.sessions.load_fleet("nowhere") is None
