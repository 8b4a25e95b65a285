"""The session's keeper: a slow answer says too little about the database's clock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from actors.session import CurrentSession, SessionKeeper
from ports.sessions import VitalSigns
from runtime.clock import SharedClock, SystemClock
from tests.actors.harness import TTL_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from trio.testing import MockClock

    from domain.model import SessionRef
    from ports.sessions import SessionStart
    from storage.memory import MemoryStore
    from tests.actors.harness import Harness, Shard


class FarAway:
    """Sessions of the twin. Each answer takes so many seconds, half of them on the way there."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.round_trip_seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def begin_session(self, shard_id: str, **terms: Any) -> SessionStart | None:
        await trio.sleep(self.round_trip_seconds / 2)
        start = await self._store.begin_session(shard_id, **terms)
        await trio.sleep(self.round_trip_seconds / 2)
        return start

    async def beat(
        self, session: SessionRef, *, ttl_seconds: float, statistics: VitalSigns
    ) -> datetime | None:
        await trio.sleep(self.round_trip_seconds / 2)
        server_time = await self._store.beat(
            session, ttl_seconds=ttl_seconds, statistics=statistics
        )
        await trio.sleep(self.round_trip_seconds / 2)
        return server_time


async def test_a_session_with_an_uncertain_clock_is_not_trusted(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It stays the live one all the same: what needs no owner goes on."""
    sessions: Any = FarAway(harness.store)
    current, clock = CurrentSession(), SharedClock(SystemClock())
    keeper = SessionKeeper(
        "shard-2", sessions, current, clock, shard.random, ttl_seconds=TTL_SECONDS
    )
    sessions.round_trip_seconds = 4.0
    session = await keeper.begin(after=None)
    assert not keeper.statistics().trusted
    nursery.start_soon(partial(keeper.keep, session, VitalSigns))
    await trio.sleep(2 * TTL_SECONDS)
    assert clock.uncertainty_seconds > 1.0
    assert not keeper.statistics().trusted
    assert current.session == session

    sessions.round_trip_seconds = 0.1
    await trio.sleep(TTL_SECONDS)
    assert keeper.statistics().trusted
    nursery.cancel_scope.cancel()


async def test_between_two_sessions_a_shard_is_not_trusted(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    sessions: Any = FarAway(harness.store)
    clock = SharedClock(SystemClock())
    keeper = SessionKeeper(
        "shard-2", sessions, CurrentSession(), clock, shard.random, ttl_seconds=TTL_SECONDS
    )
    session = await keeper.begin(after=None)
    assert keeper.statistics().trusted
    sessions.round_trip_seconds = 1.0
    nursery.start_soon(partial(keeper.begin, after=session))
    await trio.sleep(0.1)
    assert not keeper.statistics().trusted
    await trio.sleep(1)
    assert (keeper.statistics().trusted, keeper.statistics().rejoined) == (True, 1)


async def test_a_session_declared_dead_is_over_at_its_next_renewal(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    current = CurrentSession()
    keeper = SessionKeeper(
        "shard-2",
        harness.store,
        current,
        SharedClock(SystemClock()),
        shard.random,
        ttl_seconds=TTL_SECONDS,
    )
    session = await keeper.begin(after=None)
    await trio.sleep(TTL_SECONDS + 1)
    await harness.store.beat(shard.session, ttl_seconds=TTL_SECONDS, statistics=VitalSigns())
    assert await harness.store.declare_dead(shard.session) == [session]
    with trio.fail_after(TTL_SECONDS):
        await keeper.keep(session, VitalSigns)
    assert current.session is None
