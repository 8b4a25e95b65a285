"""The shard actor among others: its rounds stay right when something changes after their look."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from actors.runner import WorkspaceRunner
from actors.session import SessionKeeper
from actors.shard import ShardActor
from domain.model import SessionRef
from domain.resource import Resource, workspace_resource
from ports.ownership import OwnershipStores
from runtime.rendezvous import desired_owner
from tests.actors.harness import HARBOUR, TTL_SECONDS, owned_by, polled, until, update

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence
    from datetime import datetime

    from trio.testing import MockClock

    from ports.leases import Look
    from ports.sessions import SessionStore
    from storage.memory import MemoryStore
    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]

OTHER = "shard-3"
ALDER, BIRCH = (
    "alder",
    "birch",
)  # alder is desired by shard-1, birch by the other when there are two


class SlowClaims:
    """Leases of the twin.

    A claim, once it is to be held up, begins after the next release has been carried out.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.look, self.declare_dead, self.load_credentials = (
            store.look,
            store.declare_dead,
            store.load_credentials,
        )
        self.waits_for_release = False
        self._released = trio.Event()

    async def claim(
        self, session: SessionRef, resources: Sequence[Resource]
    ) -> Mapping[Resource, int]:
        if self.waits_for_release:
            await self._released.wait()
            await trio.testing.wait_all_tasks_blocked()
        return await self._store.claim(session, resources)

    async def release(self, session: SessionRef, leases: Mapping[Resource, int]) -> int:
        released = await self._store.release(session, leases)
        self._released.set()
        return released


def make_actor(
    harness: Harness,
    shard: Shard,
    leases: SlowClaims,
    *,
    sessions: SessionStore | None = None,
    is_paused: bool = False,
) -> ShardActor:
    sessions = sessions or harness.store
    keeper = SessionKeeper(
        "shard-1",
        sessions,
        shard.current,
        shard.clock,
        shard.random,
        ttl_seconds=TTL_SECONDS,
        is_paused=is_paused,
    )
    runner = WorkspaceRunner(harness.store, shard.tools, window_seconds=1.0)
    return ShardActor(
        keeper,
        OwnershipStores(sessions, leases, harness.store),
        runner,
        shard.tools,
        on_superseded=lambda: None,
    )


async def test_a_paused_shard_takes_no_workspace_and_stays_live(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    actor = make_actor(harness, shard, SlowClaims(harness.store), is_paused=True)
    nursery.start_soon(shard.ingest.run)
    shard.current.mark_fenced(shard.session)  # so that the actor begins a session of its own
    nursery.start_soon(actor.run)
    await harness.add_workspace(BIRCH)
    await trio.sleep(10 * TTL_SECONDS)
    told = actor.statistics()
    assert taken_up(events) == Counter()
    assert (told.paused, told.draining, told.claimed, actor.has_session) == (True, False, 0, True)
    nursery.cancel_scope.cancel()


def taken_up(events: Events) -> Counter[tuple[str, int]]:
    """How often each workspace was, by token."""
    return Counter(
        (e["workspace_id"], e["token"]) for e in events if e["event"] == "workspace_taken_up"
    )


async def test_a_hand_over_that_ends_during_a_round_is_not_taken_back(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    leases = SlowClaims(harness.store)
    actor = make_actor(harness, shard, leases)
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await harness.add_workspace(BIRCH)
    await until(lambda: taken_up(events)[BIRCH, 1] == 1)

    leases.waits_for_release = True
    await harness.store.begin_session(OTHER, ttl_seconds=3600)
    await harness.add_workspace(ALDER)
    await until(lambda: taken_up(events)[ALDER, 1] == 1)
    assert taken_up(events)[BIRCH, 1] == 1
    assert BIRCH not in actor.statistics().owned.workspaces
    assert "lease_lost" not in [event["event"] for event in events]
    nursery.cancel_scope.cancel()


async def test_a_join_moves_its_share_in_steps_whatever_the_notices(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    actor = make_actor(harness, shard, SlowClaims(harness.store))
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    theirs = (BIRCH, "elm", "hazel")
    for name in theirs:
        await harness.add_workspace(name)
    await until(lambda: sum(taken_up(events).values()) == 1 + len(theirs))  # and the harbour

    await harness.store.begin_session(OTHER, ttl_seconds=3600)
    moves: list[float] = []
    with trio.move_on_after(20):
        while len(moves) < len(theirs):
            actor.registry_changed()
            await trio.sleep(0.1)
            gone = sum(event["event"] == "workspace_handed_over" for event in events)
            moves += [trio.current_time()] * (gone - len(moves))
    assert len(moves) == len(theirs)
    assert all(later - earlier > 1.8 for earlier, later in pairwise(moves))
    nursery.cancel_scope.cancel()


def lease_of(harness: Harness, workspace_id: str) -> SessionRef | None:
    """The session that has it, as the table says."""
    lease = harness.store.tables.leases.get((workspace_resource(workspace_id),))
    return None if lease is None else lease.owner


async def test_a_lease_is_released_only_after_every_verdict(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    actor = make_actor(harness, shard, SlowClaims(harness.store))
    nursery.start_soon(actor.run)
    await until(lambda: taken_up(events)[HARBOUR, 1] == 1)
    verdict = shard.send(update("bus-1", 1, speed_kmh=4), ownership=owned_by(shard.session))
    nursery.start_soon(actor.drain)
    await trio.sleep(5)
    assert lease_of(harness, HARBOUR) == shard.session
    nursery.start_soon(shard.ingest.run)
    await verdict.wait()
    await until(lambda: lease_of(harness, HARBOUR) is None, seconds=1)
    nursery.cancel_scope.cancel()


# --- workspaces that share a credential


def credential_of(shard_id: str) -> str:
    """One that belongs, with every workspace that has it, to this one of shard-1 and the other."""
    references = (f"env:ACCOUNT_{number}" for number in range(50))
    return next(
        each for each in references if desired_owner(f"key:{each}", ("shard-1", OTHER)) == shard_id
    )


async def give_credential(harness: Harness, workspace_id: str, reference: str) -> None:
    await harness.add_connection(
        replace(polled(f"p-{workspace_id}", workspace_id), credential=reference)
    )


@pytest.mark.parametrize(
    ("shard_id", "ours"), [("shard-1", {HARBOUR, ALDER, BIRCH}), (OTHER, {HARBOUR})]
)
async def test_workspaces_that_share_a_credential_go_to_one_shard(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    shard_id: str,
    ours: set[str],
) -> None:
    """By itself each would be another's. An unclaimed one is adopted only after a TTL."""
    await harness.store.begin_session(OTHER, ttl_seconds=3600)
    for name in (ALDER, BIRCH):
        await harness.add_workspace(name)
        await give_credential(harness, name, credential_of(shard_id))
    actor = make_actor(harness, shard, SlowClaims(harness.store))
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await trio.sleep(TTL_SECONDS * 0.6)
    assert actor.statistics().owned.workspaces.keys() == ours
    nursery.cancel_scope.cancel()


async def test_a_workspace_moves_to_those_that_share_its_credential(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    await harness.store.begin_session(OTHER, ttl_seconds=3600)
    for name in (ALDER, BIRCH):
        await harness.add_workspace(name)
    await give_credential(harness, BIRCH, credential_of(OTHER))
    actor = make_actor(harness, shard, SlowClaims(harness.store))
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await until(lambda: taken_up(events)[ALDER, 1] == 1)

    await harness.store.claim(SessionRef(OTHER, 1), [workspace_resource(BIRCH)])
    await give_credential(harness, ALDER, credential_of(OTHER))
    await until(lambda: lease_of(harness, ALDER) is None, seconds=TTL_SECONDS)
    assert actor.statistics().owned.workspaces.keys() == {HARBOUR}
    nursery.cancel_scope.cancel()


async def test_a_round_that_finds_nothing_new_decides_nothing(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    """But it still sees another member, and a workspace that appears."""
    actor = make_actor(harness, shard, SlowClaims(harness.store))
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await harness.add_workspace(BIRCH)
    await trio.sleep(10 * TTL_SECONDS)
    settled = actor.statistics()
    assert settled.rounds > settled.decisions
    await trio.sleep(TTL_SECONDS)
    assert actor.statistics().decisions == settled.decisions
    await harness.store.begin_session(OTHER, ttl_seconds=3600)
    await harness.add_workspace(ALDER)
    await until(lambda: taken_up(events)[ALDER, 1] == 1 or actor.statistics().released == 1)
    assert actor.statistics().decisions > settled.decisions


class AtTheDoor:
    """The twin's sessions and looks, which wait at a door; heartbeats come through it last."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.door = trio.Event()
        self.door.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def look(self, session: SessionRef) -> Look:
        await self.door.wait()
        return await self._store.look(session)

    async def beat(self, session: SessionRef, **rest: Any) -> datetime | None:
        if not self.door.is_set():
            await self.door.wait()
            await trio.sleep(1)
        return await self._store.beat(session, **rest)


async def test_a_look_that_comes_late_loses_no_lease(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    """The database was away, and meanwhile another shard has taken over."""
    late = AtTheDoor(harness.store)
    actor = make_actor(harness, shard, cast("Any", late), sessions=cast("Any", late))
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await harness.add_workspace(BIRCH)
    await until(lambda: taken_up(events)[BIRCH, 1] == 1)
    late.door = trio.Event()
    await trio.sleep(2 * TTL_SECONDS)
    other = await harness.store.begin_session(OTHER, ttl_seconds=3600)
    assert other is not None
    assert await harness.store.declare_dead(other.session) != []
    late.door.set()
    await trio.sleep(5)
    told = [event["event"] for event in events]
    assert "session_trust_failed" in told
    assert "lease_lost" not in told
    nursery.cancel_scope.cancel()
