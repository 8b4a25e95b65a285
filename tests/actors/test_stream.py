"""The stream actor with scripted sockets: seed, read, flush, and stay bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from actors.lanes import LANES
from actors.stream_outbox import MAX_UNSENT_EDGES
from tests.actors.harness import HARBOUR, until, update
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import ECHO, GARBAGE, ScriptedStreamer, frame, outage, refused, sample
from tests.actors.streaming import check_frames, running

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]


# --- reading and flushing


async def test_frames_of_a_window_become_one_event(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        socket = await streamer.wait_connected()
        for number in range(20):
            socket.say(frame("ferry-1", trio.current_time(), soc_percent=50.0 + number))
            await trio.sleep(0.04)
        await trio.sleep(2)
        assert await harness.values("ferry-1") == {"soc_percent": 69.0}
        assert await harness.sequences("ferry-1") == [1]


async def test_an_update_waits_for_its_window_and_hardly_longer(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard, window_seconds=4.0):
        socket = await streamer.wait_connected()
        await trio.sleep(30)
        socket.say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(3.9)
        assert await harness.sequences("ferry-1") == []
        await trio.sleep(0.6)
        assert await harness.sequences("ferry-1") == [1]


async def test_a_connection_that_ends_submits_its_merged_values(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard, window_seconds=100.0):
        socket = await streamer.wait_connected()
        socket.say(
            frame("ferry-1", 0, soc_percent=50.0), ECHO, frame("ferry-2", 0, soc_percent=60.0)
        )
        socket.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert await harness.values("ferry-1") == {"soc_percent": 50.0}
        assert await harness.values("ferry-2") == {"soc_percent": 60.0}


async def test_the_seed_goes_before_live_frames(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    """The gap's older values come first, so that history has them; live frames wait meanwhile."""
    seed = ScriptedPoller(
        20.0, page(sample("ferry-1", -30, soc_percent=40), sample("ferry-1", -20, soc_percent=41))
    )
    async with running(shard, seed=seed) as actor:
        socket = await streamer.wait_connected()
        socket.say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(10)
        assert actor.statistics().frames.buffer.pending == 1
        await trio.sleep(20)
        events = await harness.store.list_events(HARBOUR, "ferry-1", before=None, limit=10)
        assert [event.readings["soc_percent"][0] for event in reversed(events)] == [40, 41, 50.0]


async def test_a_seed_that_takes_too_long_does_not_hold_up_the_stream(
    harness: Harness,
    shard: Shard,
    streamer: ScriptedStreamer,
    events: Events,
    autojump_clock: MockClock,
) -> None:
    async with running(shard, seed=ScriptedPoller(3600.0)):
        (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(65)
        assert await harness.values("ferry-1") == {"soc_percent": 50.0}
    assert "stream_seed_failed" in [event["event"] for event in events]


@pytest.mark.parametrize("fault", [outage(), refused()])
async def test_a_seed_that_fails_does_not_end_the_stream(
    harness: Harness,
    shard: Shard,
    streamer: ScriptedStreamer,
    fault: Exception,
    autojump_clock: MockClock,
) -> None:
    async with running(shard, seed=ScriptedPoller(fault, fault, fault)):
        (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(30)
        assert await harness.values("ferry-1") == {"soc_percent": 50.0}
    assert len(streamer.attempts) == 1


async def test_every_frame_is_counted_once_over_many_connections(
    shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    sent = 0
    async with running(shard) as actor:
        for times in range(1, 6):
            socket = await streamer.wait_connected(times)
            lot = [
                ECHO,
                GARBAGE,
                frame("ferry-1", times, soc_percent=1.0),
                frame("nobody", times, soc_percent=1.0),
            ]
            socket.say(*lot, *lot)
            sent += 2 * len(lot)
            socket.drop()
            # asked before the next turn
            await until(lambda: len(streamer.sockets) > times)  # noqa: B023
            check_frames(actor)
        assert actor.statistics().frames.received == sent
        counted = shard.ingest.statistics()
        assert counted.submitted == sum(counted.outcomes.values())


async def test_after_the_actor_was_stopped_the_rest_is_handed_over(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    actor = shard.stream(await shard.view(), window_seconds=50.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        await fill_stream_lane(harness, shard)
        async with trio.open_nursery() as stopped:
            stopped.start_soon(actor.run)
            (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0), GARBAGE)
            await trio.sleep(1)
            stopped.cancel_scope.cancel()
        with trio.move_on_after(60) as waiting:
            await actor.wait_flushed()
        assert waiting.cancelled_caught  # the lane is full
        harness.store.come_back()
        with trio.fail_after(60):
            await actor.wait_flushed()
            await until(lambda: shard.ingest.statistics().pending == 0)
        assert await harness.values("ferry-1") == {"soc_percent": 50.0}
        assert (
            shard.ingest.statistics().outcomes["accepted"] == 2
        )  # and the first of those that filled the lane
        refused = await harness.store.list_rejections(
            HARBOUR, before=None, reason="malformed", limit=9
        )
        assert [row.sample for row in refused] == [b"garbage"]
        nursery.cancel_scope.cancel()


async def fill_stream_lane(harness: Harness, shard: Shard) -> None:
    """The database goes away; a batch is in the actor's hand, and the lane behind it is full."""
    harness.store.go_away()
    shard.send(update("ferry-2", 1, soc_percent=1))
    await trio.testing.wait_all_tasks_blocked()
    room = LANES["stream"].capacity - shard.ingest.statistics().mailbox.lanes["stream"].waiting_size
    for size in [500] * (room // 500) + [room % 500]:
        if size:
            shard.send(*[update("ferry-2", 1, soc_percent=1)] * size)


async def test_a_full_lane_makes_frames_coalesce_until_there_is_room(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard) as actor:
        socket = await streamer.wait_connected()
        await trio.sleep(5)
        await fill_stream_lane(harness, shard)
        for second in range(60):
            socket.say(frame("ferry-1", trio.current_time(), soc_percent=float(second)))
            await trio.sleep(1)
        assert actor.statistics().unsent == 1
        harness.store.come_back()
        await trio.sleep(30)
        assert await harness.values("ferry-1") == {"soc_percent": 59.0}
        assert await harness.sequences("ferry-1") == [
            1,
            2,
        ]  # what the lane refused, and all that came while it waited
        check_frames(actor)


# --- what waits here


async def test_it_says_how_long_data_has_waited_for_room(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard) as actor:
        socket = await streamer.wait_connected()
        await trio.sleep(5)
        assert actor.waiting_seconds() == 0
        await fill_stream_lane(harness, shard)
        for second in range(40):
            socket.say(frame("ferry-1", trio.current_time(), soc_percent=float(second)))
            await trio.sleep(1)
        assert actor.waiting_seconds() == pytest.approx(39, abs=2)
        harness.store.come_back()
        await trio.sleep(30)
        assert actor.waiting_seconds() == 0


async def test_it_says_how_long_bytes_have_not_been_read(
    shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    """A pong waits behind them, so none is no sign that the provider is gone."""
    async with running(shard) as actor:
        socket = await streamer.wait_connected()
        await trio.sleep(5)
        socket.behind_since, socket.answers_pings = trio.current_time(), False
        await trio.sleep(100)
        assert actor.waiting_seconds() == pytest.approx(100, abs=1)
        assert len(streamer.sockets) == 1
        socket.behind_since = None
        await trio.sleep(1)
        assert actor.waiting_seconds() == 0
        await streamer.wait_connected(2)


async def test_everything_stays_bounded_in_an_hour_without_database(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    """The reader reads on, so the socket is never the buffer. Only the newest edges are kept."""
    async with running(shard, window_seconds=5.0) as actor:
        await streamer.wait_connected()
        await fill_stream_lane(harness, shard)
        said_at = trio.current_time()
        while trio.current_time() < said_at + 3600:
            socket = streamer.sockets[-1]
            socket.say(
                *(frame(f"ferry-{n}", trio.current_time(), soc_percent=50.0) for n in (1, 2, 3)),
                GARBAGE,
            )
            if trio.current_time() % 60 < 10:
                socket.drop()
            await trio.sleep(10)
        statistics = actor.statistics()
        assert statistics.unsent <= MAX_UNSENT_EDGES + 1
        assert statistics.frames.buffer.pending <= 3
        assert (
            shard.ingest.statistics().mailbox.lanes["stream"].waiting_size
            <= LANES["stream"].capacity
        )
        received = statistics.frames.received
        harness.store.come_back()
        await trio.sleep(120)
        check_frames(actor)
        assert received > 1000
        assert await harness.values("ferry-1") == {"soc_percent": 50.0}
        assert actor.statistics().unsent == 0
