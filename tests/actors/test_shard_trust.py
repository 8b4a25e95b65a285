"""A shard that cannot renew in time collects nothing, keeps its data and declares nobody dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ports.sessions import VitalSigns
from storage.faults import DatabaseAway
from tests.actors.harness import FERRIES, HARBOUR, LIVE, STEADY, TTL_SECONDS, until, update
from tests.actors.instants import INTERVAL
from tests.actors.scripted import frame
from tests.actors.test_runner import connect, fill_stream_lane
from tests.actors.test_shard import OTHER, SlowClaims, make_actor, taken_up
from tests.actors.working import story

if TYPE_CHECKING:
    from datetime import datetime

    from trio.testing import MockClock

    from actors.shard import ShardActor
    from actors.statistics import StreamStatistics
    from domain.model import SessionRef
    from storage.memory import MemoryStore
    from tests.actors.harness import Harness, Shard
    from tests.actors.scripted import ScriptedStreamer
    from tests.actors.test_shard import Events

BEAT_SECONDS = TTL_SECONDS / 3


class Renewals:
    """Sessions of the twin. Renewals fail while they are cut."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.are_cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def beat(
        self, session: SessionRef, *, ttl_seconds: float, statistics: VitalSigns
    ) -> datetime | None:
        if self.are_cut:
            raise DatabaseAway("no way through", retry_after=0.2)
        return await self._store.beat(session, ttl_seconds=ttl_seconds, statistics=statistics)


async def run_shard(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events
) -> tuple[ShardActor, Renewals]:
    """A shard at work: it owns the harbour, which streams and has completed a cycle."""
    renewals: Any = Renewals(harness.store)
    actor = make_actor(harness, shard, SlowClaims(harness.store), sessions=renewals)
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await until(lambda: taken_up(events)[HARBOUR, 1] == 1)
    await connect(shard)
    await trio.sleep(60)
    assert await story(harness) == [("schedule", 1, "completed")]
    return actor, renewals


def stream_of(actor: ShardActor) -> StreamStatistics:
    return actor.statistics().owned.workspaces[HARBOUR].streams[LIVE]


def contacts(shard: Shard) -> tuple[int, int, int]:
    """How often anything was fetched, and a stream was opened."""
    pollers, streamer = shard.provider.pollers, shard.provider.streamers[LIVE]
    return len(pollers[STEADY].calls), len(pollers[LIVE].calls), len(streamer.attempts)


def seeds(shard: Shard, streamer: ScriptedStreamer) -> list[bool]:
    """Return for each attempt to connect whether the state was fetched at once."""
    fetched = {call.at for call in shard.provider.pollers[LIVE].calls}
    return [attempt in fetched for attempt in streamer.attempts]


async def test_without_a_renewal_streams_close_and_no_cycle_starts(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    _, renewals = await run_shard(harness, shard, nursery, events)
    streamer = shard.provider.streamers[LIVE]
    renewals.are_cut = True
    await trio.sleep(TTL_SECONDS)
    assert harness.edges()[-1] == (LIVE, "stream_closed", None)
    before = contacts(shard)
    streamer.sockets[0].say(frame(FERRIES[0], 70, speed_kmh=20))
    await trio.sleep(2 * INTERVAL)
    assert contacts(shard) == before
    assert streamer.sockets[0].received == 0

    renewals.are_cut = False
    await streamer.wait_connected(times=2)
    await trio.sleep(INTERVAL)
    assert seeds(shard, streamer) == [True, True]
    assert (await story(harness))[-1] == ("schedule", 1, "completed")
    assert taken_up(events) == {(HARBOUR, 1): 1}
    nursery.cancel_scope.cancel()


async def test_held_updates_outlast_a_long_absence_of_the_database(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    """One update is in the batch in hand, one was refused by a full lane, one is in the buffer."""
    actor, _ = await run_shard(harness, shard, nursery, events)
    socket = shard.provider.streamers[LIVE].sockets[0]
    harness.store.go_away()
    in_hand = shard.send(update("bus-1", 61, speed_kmh=10))
    await trio.sleep(1)
    fill_stream_lane(shard)
    socket.say(frame(FERRIES[0], 62, speed_kmh=20))
    await trio.sleep(2)
    socket.say(frame(FERRIES[1], 64, speed_kmh=30))
    await trio.sleep(2 * INTERVAL)
    assert not stream_of(actor).open
    assert stream_of(actor).frames.buffer.pending == 1
    assert not in_hand.done

    harness.store.come_back()
    await until(lambda: stream_of(actor).frames.buffer.pending == 0, seconds=60)
    await until(lambda: shard.ingest.statistics().pending == 0, seconds=60)
    assert await harness.values("bus-1") == {"speed_kmh": 10}
    assert [await harness.values(ferry) for ferry in FERRIES] == [
        {"speed_kmh": 20},
        {"speed_kmh": 30},
    ]
    assert actor.statistics().rejoined == 0
    nursery.cancel_scope.cancel()


# --- judging others


async def test_after_its_absence_a_shard_lets_the_others_renew_first(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    actor, renewals = await run_shard(harness, shard, nursery, events)
    other = await harness.boot(OTHER)
    renewals.are_cut = True
    await trio.sleep(2 * TTL_SECONDS)

    renewals.are_cut = False
    await until(lambda: bool(actor.statistics().trusted))
    await trio.sleep(BEAT_SECONDS * 0.9)  # two rounds
    assert (
        await harness.store.beat(other.session, ttl_seconds=TTL_SECONDS, statistics=VitalSigns())
        is not None
    )
    await trio.sleep(TTL_SECONDS - 1)
    assert actor.statistics().declared_dead == 0
    await until(lambda: actor.statistics().declared_dead == 1, seconds=5)
    nursery.cancel_scope.cancel()


async def test_a_draining_shard_declares_nobody_dead(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    actor, _ = await run_shard(harness, shard, nursery, events)
    other = await harness.boot(OTHER)
    await actor.drain()
    await trio.sleep(2 * TTL_SECONDS)
    assert actor.statistics().declared_dead == 0
    assert (
        await harness.store.beat(other.session, ttl_seconds=TTL_SECONDS, statistics=VitalSigns())
        is not None
    )
    nursery.cancel_scope.cancel()
