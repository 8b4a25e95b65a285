"""Membership and ownership, and which session may change them: docs/ownership.md in its order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from domain.model import Ownership, SessionRef
from domain.resource import Resource, workspace_resource
from ports.ingest import SessionFenced
from ports.leases import Look
from ports.sessions import VitalSigns
from tests.storage.contract.cast import (
    HARBOUR,
    HARBOUR_LEASE,
    ISLAND,
    ISLAND_LEASE,
    connection,
    submission,
)

if TYPE_CHECKING:
    from tests.storage.contract.cast import World

BOTH = (HARBOUR_LEASE, ISLAND_LEASE)


async def look(world: World, session: SessionRef | None = None) -> Look:
    return await world.stores.leases.look(session or world.session)


async def claim(world: World, session: SessionRef, *resources: Resource) -> dict[Resource, int]:
    return dict(await world.stores.leases.claim(session, resources or BOTH))


async def renew(world: World, session: SessionRef) -> bool:
    return (
        await world.stores.sessions.beat(session, ttl_seconds=15, statistics=VitalSigns())
        is not None
    )


async def kill(world: World, session: SessionRef, by: SessionRef) -> None:
    """Let the shard's heartbeat expire, and have the other one declare it dead."""
    await world.inside.let_pass(20)
    assert await renew(world, by)
    assert await world.stores.leases.declare_dead(by) == [session]


def about(seconds: float) -> object:
    """Compare with so many seconds, plus the time that the test itself took."""
    return pytest.approx(seconds + 5, abs=5.1)


# --- Looking


async def test_a_first_look_finds_everything_free_since_it_was_made(world: World) -> None:
    await world.inside.let_pass(100)
    await renew(world, world.session)
    found = await look(world)
    assert found._replace(free={}) == Look(
        frozenset({"shard-1"}), {}, {}, {}, expired=False, next_expiry_seconds=None
    )
    assert found.free == {HARBOUR_LEASE: about(100), ISLAND_LEASE: about(100)}


async def test_an_owned_workspace_is_mine_to_its_owner_and_to_no_other(world: World) -> None:
    other = await world.begin("shard-2")
    assert await claim(world, other, HARBOUR_LEASE) == {HARBOUR_LEASE: 1}
    assert (await look(world, other)).mine == {HARBOUR_LEASE: 1}
    seen = await look(world)
    assert (seen.mine, list(seen.free)) == ({}, [ISLAND_LEASE])


async def test_an_inactive_workspace_is_retired_and_never_free(
    world: World,
) -> None:
    await claim(world, world.session)
    await world.put_workspace(ISLAND, active=False)
    found = await look(world)
    assert (found.mine, found.retired, found.free) == ({HARBOUR_LEASE: 1}, {ISLAND_LEASE: 1}, {})
    await world.stores.leases.release(world.session, {ISLAND_LEASE: 1})
    assert (await look(world)).free == {}
    assert await claim(world, world.session) == {}


async def test_members_are_live_in_time_and_not_draining(world: World) -> None:
    draining, ended = await world.begin("shard-2"), await world.begin("shard-3")
    await world.begin("shard-4")
    await world.stores.sessions.start_draining(draining)
    await world.stores.sessions.end_session(ended)
    assert await renew(world, draining)  # a heartbeat does not end the draining
    assert (await look(world)).members == {"shard-1", "shard-4"}
    assert (await look(world, draining)).members == {"shard-1", "shard-4"}


async def test_who_has_expired_is_no_member_even_to_itself(world: World) -> None:
    other = await world.begin("shard-2", ttl_seconds=60)
    await world.inside.let_pass(20)
    assert (await look(world)).members == {"shard-2"}
    assert (await look(world, other)).members == {"shard-2"}


async def test_a_later_boot_of_a_shard_is_no_member_to_the_earlier_one(world: World) -> None:
    again = await world.begin("shard-1")
    assert (await look(world)).members == frozenset()
    assert (await look(world, again)).members == {"shard-1"}


async def test_an_expired_owner_that_lives_keeps_its_lease(
    world: World,
) -> None:
    await claim(world, await world.begin("shard-2"))
    await world.inside.let_pass(20)
    await renew(world, world.session)
    found = await look(world)
    assert (found.expired, found.free, found.next_expiry_seconds) == (True, {}, None)


async def test_the_next_expiry_is_that_of_another_shard(world: World) -> None:
    await world.begin("shard-2", ttl_seconds=500)
    await world.begin("shard-3", ttl_seconds=300)
    found = await look(world)
    assert found.next_expiry_seconds == pytest.approx(285, abs=15)
    assert not found.expired


async def test_nobody_is_told_to_declare_itself_dead(world: World) -> None:
    await world.inside.let_pass(20)
    found = await look(world)
    assert (found.expired, found.next_expiry_seconds) == (False, None)


# --- Free, and since when


async def test_what_was_released_is_free_since_then(world: World) -> None:
    await claim(world, world.session, HARBOUR_LEASE)
    await world.inside.let_pass(100)
    assert await world.stores.leases.release(world.session, {HARBOUR_LEASE: 1}) == 1
    await world.inside.let_pass(50)
    assert (await look(world)).free == {HARBOUR_LEASE: about(50), ISLAND_LEASE: about(150)}


async def test_what_a_dead_or_ended_session_held_is_free_since_its_end(world: World) -> None:
    dead, ended = await world.begin("shard-2"), await world.begin("shard-3")
    await claim(world, dead, HARBOUR_LEASE)
    await claim(world, ended, ISLAND_LEASE)
    await world.stores.sessions.end_session(ended)
    await kill(world, dead, by=world.session)
    await world.inside.let_pass(50)
    assert (await look(world)).free == {HARBOUR_LEASE: about(50), ISLAND_LEASE: about(70)}


async def test_leases_of_a_former_epoch_are_free_since_the_next_began(
    world: World,
) -> None:
    await claim(world, world.session)
    await world.inside.let_pass(100)
    again = await world.begin("shard-1")
    await world.inside.let_pass(50)
    found = await look(world, again)
    assert (found.mine, found.free) == ({}, {HARBOUR_LEASE: about(50), ISLAND_LEASE: about(50)})
    assert (await look(world)).mine == {}
    assert await claim(world, again) == {HARBOUR_LEASE: 2, ISLAND_LEASE: 2}


# --- Claiming


async def test_a_lease_of_a_live_session_cannot_be_claimed_even_by_it(world: World) -> None:
    other = await world.begin("shard-2")
    assert await claim(world, other, HARBOUR_LEASE) == {HARBOUR_LEASE: 1}
    assert await claim(world, world.session) == {ISLAND_LEASE: 1}
    assert await claim(world, other) == {}
    await world.inside.let_pass(20)
    assert await claim(world, world.session) == {}  # an expired session is not dead yet


async def test_tokens_grow_by_one_with_each_acquisition_by_anyone(world: World) -> None:
    other = await world.begin("shard-2")
    tokens = []
    for session in (world.session, other, other, world.session):
        taken = await claim(world, session, HARBOUR_LEASE)
        tokens.append(taken[HARBOUR_LEASE])
        assert await world.stores.leases.release(session, taken) == 1
    assert tokens == [1, 2, 3, 4]


async def test_two_claimers_share_and_no_lease_has_two_owners(world: World) -> None:
    names = [f"w-{number:03}" for number in range(60)]
    many = [workspace_resource(name) for name in names]
    for name in names:
        await world.put_workspace(name)
    sessions = [world.session, await world.begin("shard-2")]
    for round_number in range(1, 11):
        taken: list[dict[Resource, int]] = [{}, {}]

        async def take(place: int, taken: list[dict[Resource, int]] = taken) -> None:
            taken[place] = await claim(world, sessions[place], *many)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, 0)
            nursery.start_soon(take, 1)
        assert not taken[0].keys() & taken[1].keys()
        # Each skips a lease that the other locks, so some may be left.
        left = await claim(world, sessions[0], *many)
        assert {**taken[0], **taken[1], **left} == dict.fromkeys(many, round_number)
        await world.stores.leases.release(sessions[0], {**taken[0], **left})
        await world.stores.leases.release(sessions[1], taken[1])


async def test_a_workspace_that_does_not_exist_cannot_be_claimed(world: World) -> None:
    assert await claim(world, world.session, workspace_resource("nowhere")) == {}
    assert await claim(world, world.session, HARBOUR_LEASE, HARBOUR_LEASE) == {HARBOUR_LEASE: 1}


async def test_a_session_that_is_over_changes_no_lease_and_no_session(world: World) -> None:
    superseded = world.session
    await claim(world, superseded, HARBOUR_LEASE)
    await world.begin("shard-2", ttl_seconds=0)
    again = await world.begin("shard-1")
    leases = world.stores.leases
    assert await claim(world, superseded) == {}
    assert await leases.release(superseded, {HARBOUR_LEASE: 1}) == 0
    assert await leases.declare_dead(superseded) == []
    assert (await look(world, again)).expired
    assert await claim(world, SessionRef("nobody", 1)) == {}


# --- Releasing


async def test_a_release_is_for_one_acquisition_and_does_nothing_later(world: World) -> None:
    other, leases = await world.begin("shard-2"), world.stores.leases
    await claim(world, world.session, HARBOUR_LEASE)
    assert (
        await leases.release(
            world.session, {HARBOUR_LEASE: 1, ISLAND_LEASE: 1, workspace_resource("nowhere"): 1}
        )
        == 1
    )
    assert await claim(world, other, HARBOUR_LEASE) == {HARBOUR_LEASE: 2}
    assert await leases.release(world.session, {HARBOUR_LEASE: 1}) == 0
    assert await leases.release(world.session, {HARBOUR_LEASE: 2}) == 0
    assert await leases.release(other, {HARBOUR_LEASE: 1}) == 0
    assert (await look(world, other)).mine == {HARBOUR_LEASE: 2}


# --- Declaring dead


async def test_a_session_declared_dead_is_fenced_and_its_leases_free(
    world: World,
) -> None:
    dead = await world.begin("shard-2")
    await claim(world, dead)
    await kill(world, dead, by=world.session)
    with pytest.raises(SessionFenced):
        await world.commit(
            submission(world.update("bus-1", world.now, soc_percent=50.0)), session=dead
        )
    assert not await renew(world, dead)
    assert await claim(world, dead) == {}
    assert await claim(world, world.session) == {HARBOUR_LEASE: 2, ISLAND_LEASE: 2}


async def test_data_collected_before_a_rejoin_is_fenced_unless_unowned(
    world: World,
) -> None:
    dead = await world.begin("shard-2")
    tokens = await claim(world, dead, HARBOUR_LEASE)
    await kill(world, dead, by=world.session)
    rejoined = await world.stores.sessions.begin_session("shard-2", ttl_seconds=15, after=dead)
    assert rejoined is not None
    bus, tram = (
        world.update(device, world.now, soc_percent=50.0) for device in ("bus-1", "tram-1")
    )
    owned = replace(
        submission(bus), ownership=Ownership(HARBOUR_LEASE, *dead, tokens[HARBOUR_LEASE])
    )
    receipts = await world.commit(owned, submission(tram), session=rejoined.session)
    assert [receipt.results[0].outcome for receipt in receipts] == ["rejected", "accepted"]


async def test_an_expired_session_not_declared_dead_keeps_its_epoch(
    world: World,
) -> None:
    tokens = await claim(world, world.session)
    await world.inside.let_pass(1000)
    assert await renew(world, world.session)
    assert (await look(world)).mine == tokens
    assert await world.send(world.update("bus-1", world.now, soc_percent=50.0)) == ["accepted"]


async def test_who_is_expired_itself_declares_nobody_dead(world: World) -> None:
    other = await world.begin("shard-2")
    await world.inside.let_pass(20)
    assert await world.stores.leases.declare_dead(world.session) == []
    assert await renew(world, world.session)
    assert await world.stores.leases.declare_dead(world.session) == [other]
    assert await world.stores.leases.declare_dead(world.session) == []


async def test_all_that_expired_are_declared_at_once_and_nobody_else(world: World) -> None:
    first, second = (
        await world.begin("shard-3", ttl_seconds=0),
        await world.begin("shard-2", ttl_seconds=0),
    )
    await world.begin("shard-4")
    assert await world.stores.leases.declare_dead(world.session) == [second, first]
    assert not (await look(world)).expired


async def test_a_dead_sessions_heartbeat_is_over_until_its_next_epoch(
    world: World,
) -> None:
    dead = await world.begin("shard-2")
    await kill(world, dead, by=world.session)
    shard = await world.inside.session_row("shard-2")
    assert shard.state == "dead"
    assert shard.expires_at < shard.beat_at
    again = await world.begin("shard-2", ttl_seconds=0)
    assert await renew(world, again)
    assert (await look(world)).members == {"shard-1", "shard-2"}


# --- Credentials


async def test_credentials_belong_to_active_workspaces_and_connections(
    world: World,
) -> None:
    registry = world.stores.registry
    for provider_id, credential, active in (
        ("a", "env:A", True),
        ("b", "env:A", True),
        ("c", "env:C", False),
    ):
        await registry.put_provider(
            replace(connection(provider_id), credential=credential, active=active)
        )
    assert await world.stores.leases.load_credentials() == {
        HARBOUR_LEASE: {"env:A"},
        ISLAND_LEASE: frozenset(),
    }
    await world.put_workspace(HARBOUR, active=False)
    assert await world.stores.leases.load_credentials() == {ISLAND_LEASE: frozenset()}
