"""A lease is released only when nothing of its workspace is left here, whatever happens."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime.supervisor import Restart, Supervisor
from tests.actors.harness import FERRIES, HARBOUR, owned_by, streamed, until, update
from tests.actors.scripted import frame
from tests.actors.test_runner import connect, hold_a_frame, load, owning
from tests.actors.test_shard import SlowClaims, make_actor, taken_up
from tests.actors.working import story

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio.testing import MockClock

    from actors.shard import ShardActor
    from domain.model import SessionRef
    from ports.leases import Look
    from ports.sessions import SessionStart
    from storage.memory import MemoryStore
    from tests.actors.harness import Harness, Shard

Events = list[MutableMapping[str, Any]]


class CrashingLook(SlowClaims):
    """Leases of the twin. One look, when it is told to, meets a bug."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._look = store.look
        self.look = self._crash_or_look
        self.crashes = False

    async def _crash_or_look(self, session: SessionRef) -> Look:
        if self.crashes:
            self.crashes = False
            raise ZeroDivisionError("a bug in a round")
        return await self._look(session)


async def run_shard(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events
) -> tuple[ShardActor, CrashingLook, trio.CancelScope]:
    """A supervised shard actor that owns the harbour and has run its cycle.

    The scope ends the ingest actor.
    """
    leases, ingest = CrashingLook(harness.store), trio.CancelScope()
    actor = make_actor(harness, shard, leases)

    async def run_ingest() -> None:
        with ingest:
            await shard.ingest.run()

    async def run_actor() -> None:
        supervisor = Supervisor("root", random=Random(1))
        async with supervisor.open():
            supervisor.start("shard", actor.run, restart=Restart.PERMANENT, essential=True)
            await trio.sleep_forever()

    nursery.start_soon(run_ingest)
    nursery.start_soon(run_actor)
    await until(lambda: taken_up(events)[HARBOUR, 1] == 1)
    await trio.sleep(60)
    return actor, leases, ingest


def handed_over(events: Events) -> list[str]:
    return [event["workspace_id"] for event in events if event["event"] == "workspace_handed_over"]


async def test_a_crash_of_the_shard_releases_nothing_without_verdict(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    _, leases, ingest = await run_shard(harness, shard, nursery, events)
    ingest.cancel()  # as when the database is slow: nothing is committed for a while
    await trio.sleep(1)
    verdict = shard.send(
        update("bus-1", 61, speed_kmh=4), ownership=owned_by(shard.session, HARBOUR), origin="poll"
    )
    for number in range(8):  # one of them will be the one who should have the harbour
        await harness.store.begin_session(f"heir-{number}", ttl_seconds=3600)
    leases.crashes = True
    await trio.sleep(30)
    released = handed_over(events)
    assert (verdict.done, released) == (False, [])
    nursery.start_soon(shard.ingest.run)
    await until(lambda: handed_over(events) == [HARBOUR])
    await verdict.wait()
    nursery.cancel_scope.cancel()


async def test_a_cycle_that_is_over_stays_over_after_a_shard_crash(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    leases = CrashingLook(harness.store)
    actor = make_actor(harness, shard, leases)
    async with Supervisor("root", random=Random(1)).open() as supervisor:
        supervisor.start("shard", actor.run, restart=Restart.PERMANENT, essential=True)
        await trio.sleep(60)  # its end is in the mailbox, and nobody commits
        leases.crashes = True
        await trio.sleep(6)
        nursery.start_soon(shard.ingest.run)
        await trio.sleep(200)
        assert await story(harness) == [("schedule", 1, "completed")]
        nursery.cancel_scope.cancel()


async def test_a_hand_over_that_is_cut_off_keeps_lease_and_data(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    actor, _, ingest = await run_shard(harness, shard, nursery, events)
    ingest.cancel()
    await trio.sleep(1)
    verdict = shard.send(
        update("bus-1", 61, speed_kmh=4), ownership=owned_by(shard.session, HARBOUR), origin="poll"
    )
    with trio.move_on_after(5):
        await actor.drain()
    await trio.sleep(4)
    assert not verdict.done
    assert handed_over(events) == []
    nursery.cancel_scope.cancel()


async def test_frames_are_counted_when_a_hand_over_is_cut_off(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with owning(harness, shard) as runner:
        streamer = await connect(shard)
        streamer.sockets[0].say(*[frame(FERRIES[0], number, speed_kmh=20) for number in range(10)])
        await until(lambda: streamer.sockets[0].received == 10)
        with trio.move_on_after(5) as cut_off:
            await runner.stop_and_flush(HARBOUR)
        assert cut_off.cancelled_caught
        assert runner.frames()["received"] == 10
    assert runner.frames()["received"] == 10


@pytest.mark.parametrize("change", [{"active": False}, {"expected_update_seconds": 60.0}])
async def test_a_stream_exchanged_while_trust_returns_runs_just_once(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    change: Mapping[str, Any],
) -> None:
    async with owning(harness, shard) as runner:
        await hold_a_frame(shard)
        await harness.add_connection(replace(streamed(), **change))
        nursery.start_soon(runner.follow, await load(harness))  # waits for room
        await trio.sleep(1)
        await runner.pause()
        runner.resume()
        await trio.sleep(20)
        nursery.start_soon(shard.ingest.run)
        await trio.sleep(20)
        running = runner.statistics().actors.states["running"]
        assert running == (1 if change == {"active": False} else 2)
        assert await runner.stop_and_flush(HARBOUR)
        assert runner.statistics().actors.states["running"] == 0
        nursery.cancel_scope.cancel()


class LateSessions:
    """Sessions of the twin. None begins before the gate is open."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.gate = trio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def begin_session(self, shard_id: str, **terms: Any) -> SessionStart | None:
        await self.gate.wait()
        return await self._store.begin_session(shard_id, **terms)


async def test_a_session_that_begins_during_the_way_out_takes_nothing(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    sessions: Any = LateSessions(harness.store)
    actor = make_actor(harness, shard, SlowClaims(harness.store), sessions=sessions)
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(actor.run)
    await until(lambda: HARBOUR in actor.statistics().owned.workspaces)
    shard.current.mark_fenced(shard.session)
    await trio.sleep(1)
    await actor.drain()
    sessions.gate.set()
    await trio.sleep(5)
    assert shard.current.session is not None
    assert actor.statistics().owned.workspaces == {}
    nursery.cancel_scope.cancel()
