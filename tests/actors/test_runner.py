"""The runner: pauses, stops, flushes and reconfigures a workspace, and all of it at one time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from actors.runner import FLUSH_BUDGET_SECONDS, WorkspaceRunner
from tests.actors.harness import (
    FERRIES,
    HARBOUR,
    LIVE,
    owned_by,
    streamed,
    submission,
    until,
    update,
)
from tests.actors.scripted import ScriptedStreamer, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from ports.sessions import Fleet
    from tests.actors.harness import Harness, Shard

TOKEN = 1


@asynccontextmanager
async def owning(harness: Harness, shard: Shard) -> AsyncIterator[WorkspaceRunner]:
    """The harbour, owned by this shard."""
    runner = WorkspaceRunner(harness.store, shard.tools, window_seconds=1.0)
    async with runner.open():
        await runner.start(shard.session, TOKEN, await load(harness))
        yield runner


async def load(harness: Harness) -> Fleet:
    fleet = await harness.store.load_fleet(HARBOUR)
    assert fleet is not None
    return fleet


async def connect(shard: Shard) -> ScriptedStreamer:
    """The harbour's stream, connected."""
    await until(lambda: LIVE in shard.provider.streamers)
    streamer = shard.provider.streamers[LIVE]
    await streamer.wait_connected()
    return streamer


def fill_stream_lane(shard: Shard) -> None:
    """Fill the lane of streams, so that it takes no more until the ingest actor runs."""
    lane = shard.ingest.statistics().mailbox.lanes["stream"]
    room = lane.capacity - lane.waiting_size
    sent, _ = submission(*[update(FERRIES[1], 1, speed_kmh=1)] * room)
    shard.ingest.submit_nowait(sent)


async def hold_a_frame(shard: Shard) -> ScriptedStreamer:
    """The harbour's stream with one merged frame, which has no room until the ingest actor runs."""
    streamer = await connect(shard)
    fill_stream_lane(shard)
    streamer.sockets[0].say(frame(FERRIES[0], 2, speed_kmh=20))
    await until(lambda: streamer.sockets[0].received == 1)
    return streamer


async def outcomes(harness: Harness) -> list[tuple[int, str]]:
    return [(row.key.attempt, str(row.outcome)) for row in await harness.cycles()]


async def test_a_slot_whose_end_waits_for_commit_is_collected_once(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with owning(harness, shard) as runner:
        await trio.sleep(60)  # the cycle is over, its end in the mailbox, and nobody commits
        await runner.pause()
        runner.resume()
        await trio.sleep(5)
        nursery.start_soon(shard.ingest.run)
        await trio.sleep(120)
        assert await outcomes(harness) == [(1, "completed")]
        nursery.cancel_scope.cancel()


async def test_a_flush_over_its_budget_keeps_workspace_and_data(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with owning(harness, shard) as runner:
        streamer = await hold_a_frame(shard)
        assert await runner.stop_and_flush(HARBOUR) is False
        assert runner.workspace_ids() == {HARBOUR}
        await streamer.wait_connected(times=2)
        nursery.start_soon(shard.ingest.run)
        assert await runner.stop_and_flush(HARBOUR) is True
        assert runner.workspace_ids() == frozenset()
        assert await harness.values(FERRIES[0]) == {"speed_kmh": 20}
        nursery.cancel_scope.cancel()


async def test_a_hand_over_waits_for_the_verdict_of_every_submission(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The lane has room, so nothing is left in the actors; only the commit does not come."""
    flushed: list[bool] = []
    async with owning(harness, shard) as runner:
        streamer = await connect(shard)
        streamer.sockets[0].say(frame(FERRIES[0], 2, speed_kmh=20))
        await until(lambda: streamer.sockets[0].received == 1)

        async def hand_over() -> None:
            flushed.append(await runner.stop_and_flush(HARBOUR))

        nursery.start_soon(hand_over)
        await trio.sleep(FLUSH_BUDGET_SECONDS / 2)
        assert flushed == []
        nursery.start_soon(shard.ingest.run)
        await until(lambda: bool(flushed), seconds=1)
        assert flushed == [True]
        assert await harness.values(FERRIES[0]) == {"speed_kmh": 20}
        nursery.cancel_scope.cancel()


async def test_a_hand_over_waits_for_a_streams_merged_values(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with owning(harness, shard) as runner:
        await hold_a_frame(shard)
        async with trio.open_nursery() as handing_over:
            handing_over.start_soon(runner.stop_and_flush, HARBOUR)
            await trio.sleep(FLUSH_BUDGET_SECONDS / 2)
            nursery.start_soon(shard.ingest.run)
        assert runner.workspace_ids() == frozenset()
        assert await harness.values(FERRIES[0]) == {"speed_kmh": 20}
        assert +runner.frames_of(HARBOUR) == {"received": 1, "merged": 1}
        nursery.cancel_scope.cancel()


async def test_a_verdict_that_comes_too_late_keeps_the_workspace(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    async with owning(harness, shard) as runner:
        await connect(shard)
        shard.send(update(FERRIES[0], 2, speed_kmh=20), ownership=owned_by(shard.session))
        assert await runner.stop_and_flush(HARBOUR) is False
        assert runner.workspace_ids() == {HARBOUR}
        await shard.provider.streamers[LIVE].wait_connected(times=2)


async def test_a_stream_exchanged_during_a_hand_over_does_not_run_on(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with owning(harness, shard) as runner:
        streamer = await hold_a_frame(shard)
        await harness.add_connection(replace(streamed(), expected_update_seconds=60.0))
        nursery.start_soon(runner.follow, await load(harness))  # waits for room
        await trio.sleep(1)
        async with trio.open_nursery() as handing_over:
            handing_over.start_soon(runner.stop_and_flush, HARBOUR)
            await trio.sleep(1)
            nursery.start_soon(shard.ingest.run)
        await trio.sleep(60)
        assert len(streamer.attempts) == 1
        assert runner.statistics().actors.states["running"] == 0
        assert await harness.values(FERRIES[0]) == {"speed_kmh": 20}
        nursery.cancel_scope.cancel()
