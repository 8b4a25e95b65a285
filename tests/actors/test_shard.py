"""The shard actor among others: what a round may make of what it saw, when the world has moved on meanwhile."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from actors.owned import OwnedActors
from actors.session import SessionKeeper
from actors.shard import ShardActor
from tests.actors.cast import TTL_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from trio.testing import MockClock

    from domain.model import SessionRef
    from storage.memory import MemoryStore
    from tests.actors.cast import House, Shard

    Events = list[MutableMapping[str, Any]]

OTHER = "shard-2"
ALDER, BIRCH = "alder", "birch"  # alder is desired by shard-1, birch by the other when there are two


class SlowClaims:
    """Leases of the twin. A claim, once it is to be held up, begins after the next release has been carried out."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.look, self.declare_dead, self.load_credentials = store.look, store.declare_dead, store.load_credentials
        self.waits_for_release = False
        self._released = trio.Event()

    async def claim(self, session: SessionRef, resources: Sequence[str]) -> Mapping[str, int]:
        if self.waits_for_release:
            await self._released.wait()
            await trio.testing.wait_all_tasks_blocked()
        return await self._store.claim(session, resources)

    async def release(self, session: SessionRef, leases: Mapping[str, int]) -> int:
        released = await self._store.release(session, leases)
        self._released.set()
        return released


def make_actor(house: House, shard: Shard, leases: SlowClaims) -> ShardActor:
    keeper = SessionKeeper("shard-1", house.store, shard.current, shard.clock, shard.random, ttl_seconds=TTL_SECONDS)
    owned = OwnedActors(house.store, shard.connector, shard.ingest, shard.clock, shard.random, window_seconds=1.0)
    return ShardActor(
        "shard-1",
        keeper,
        house.store,
        leases,
        house.store,
        owned,
        shard.ingest,
        shard.current,
        Random(7),
        on_superseded=lambda: None,
        ttl_seconds=TTL_SECONDS,
    )


def taken_up(events: Events) -> Counter[tuple[str, int]]:
    """How often each workspace was, by token."""
    return Counter((e["workspace_id"], e["token"]) for e in events if e["event"] == "workspace_taken_up")


async def test_what_is_handed_over_during_a_round_is_not_taken_up_again_under_the_old_token(
    house: House, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    leases = SlowClaims(house.store)
    actor = make_actor(house, shard, leases)
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await house.add_workspace(BIRCH)
    await until(lambda: taken_up(events)[BIRCH, 1] == 1)

    leases.waits_for_release = True
    await house.store.begin_session(OTHER, ttl_seconds=3600)
    await house.add_workspace(ALDER)
    await until(lambda: taken_up(events)[ALDER, 1] == 1)
    assert taken_up(events)[BIRCH, 1] == 1
    assert BIRCH not in actor.statistics()["owned"]["workspaces"]
    assert "lease_lost" not in [event["event"] for event in events]
    nursery.cancel_scope.cancel()


async def test_a_join_moves_its_share_step_by_step_however_often_somebody_says_look(
    house: House, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    actor = make_actor(house, shard, SlowClaims(house.store))
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    theirs = (BIRCH, "oak", "willow")
    for name in theirs:
        await house.add_workspace(name)
    await until(lambda: sum(taken_up(events).values()) == 1 + len(theirs))  # and the harbour

    await house.store.begin_session(OTHER, ttl_seconds=3600)
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
