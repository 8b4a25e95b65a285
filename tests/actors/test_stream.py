"""The stream actor with scripted sockets: connect, seed, read, flush, come back."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from actors.ingest import LANES
from actors.stream import MAX_UNSENT_EDGES
from domain.model import FaultClass, ProviderConnection
from tests.actors.cast import (
    DENIED,
    ECHO,
    GARBAGE,
    HARBOUR,
    LIVE,
    ScriptedPoller,
    ScriptedStreamer,
    frame,
    outage,
    page,
    refused,
    sample,
    streamed,
    until,
    update,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from trio.testing import MockClock

    from actors.ports import StreamSocket
    from actors.stream import StreamActor
    from tests.actors.cast import House, Shard

    Events = list[MutableMapping[str, Any]]


@asynccontextmanager
async def running(shard: Shard, *, seed: ScriptedPoller | None = None, **rest: Any) -> AsyncIterator[StreamActor]:
    """A stream of the harbour and the ingest actor behind it; stopped at the end of the block."""
    shard.provider.pollers[LIVE] = seed or ScriptedPoller()
    actor = shard.stream(await shard.view(), **rest)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        nursery.start_soon(actor.run)
        yield actor
        nursery.cancel_scope.cancel()


@pytest.fixture
def streamer(shard: Shard) -> ScriptedStreamer:
    shard.provider.streamers[LIVE] = ScriptedStreamer()
    return shard.provider.streamers[LIVE]


def gaps(streamer: ScriptedStreamer) -> list[float]:
    return [later - earlier for earlier, later in pairwise(streamer.attempts)]


def check_frames(actor: StreamActor) -> None:
    frames = actor.statistics()["frames"]
    assert frames["received"] == frames["merged"] + frames["ignored"] + frames["malformed"] + frames["pending"]


# --- reading and flushing


async def test_frames_of_a_window_become_one_event(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        socket = await streamer.wait_connected()
        for number in range(20):
            socket.say(frame("ferry-1", trio.current_time(), soc_percent=50.0 + number))
            await trio.sleep(0.04)
        await trio.sleep(2)
        assert await house.values("ferry-1") == {"soc_percent": 69.0}
        assert await house.sequences("ferry-1") == [1]


async def test_an_update_waits_for_its_window_and_hardly_longer(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard, window_seconds=4.0):
        socket = await streamer.wait_connected()
        await trio.sleep(30)
        socket.say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(3.9)
        assert await house.sequences("ferry-1") == []
        await trio.sleep(0.6)
        assert await house.sequences("ferry-1") == [1]


async def test_what_the_connection_brought_is_handed_over_when_it_ends(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard, window_seconds=100.0):
        socket = await streamer.wait_connected()
        socket.say(frame("ferry-1", 0, soc_percent=50.0), ECHO, frame("ferry-2", 0, soc_percent=60.0))
        socket.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert await house.values("ferry-1") == {"soc_percent": 50.0}
        assert await house.values("ferry-2") == {"soc_percent": 60.0}


async def test_the_seed_goes_before_live_frames(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    """The gap's older values come first, so that history has them; live frames wait in the buffer meanwhile."""
    seed = ScriptedPoller(20.0, page(sample("ferry-1", -30, soc_percent=40), sample("ferry-1", -20, soc_percent=41)))
    async with running(shard, seed=seed) as actor:
        socket = await streamer.wait_connected()
        socket.say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(10)
        assert actor.statistics()["frames"]["buffer"]["pending"] == 1
        await trio.sleep(20)
        events = await house.store.list_events(HARBOUR, "ferry-1", before=None, limit=10)
        assert [event.readings["soc_percent"][0] for event in reversed(events)] == [40, 41, 50.0]


async def test_a_seed_that_takes_too_long_does_not_hold_up_the_stream(
    house: House, shard: Shard, streamer: ScriptedStreamer, events: Events, autojump_clock: MockClock
) -> None:
    async with running(shard, seed=ScriptedPoller(3600.0)):
        (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(65)
        assert await house.values("ferry-1") == {"soc_percent": 50.0}
    assert "stream_seed_failed" in [event["event"] for event in events]


@pytest.mark.parametrize("fault", [outage(), refused()])
async def test_a_seed_that_fails_does_not_end_the_stream(
    house: House, shard: Shard, streamer: ScriptedStreamer, fault: Exception, autojump_clock: MockClock
) -> None:
    async with running(shard, seed=ScriptedPoller(fault, fault, fault)):
        (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(30)
        assert await house.values("ferry-1") == {"soc_percent": 50.0}
    assert len(streamer.attempts) == 1


async def test_every_frame_is_counted_once_over_many_connections(
    shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    sent = 0
    async with running(shard) as actor:
        for times in range(1, 6):
            socket = await streamer.wait_connected(times)
            lot = [ECHO, GARBAGE, frame("ferry-1", times, soc_percent=1.0), frame("nobody", times, soc_percent=1.0)]
            socket.say(*lot, *lot)
            sent += 2 * len(lot)
            socket.drop()
            await until(lambda: len(streamer.sockets) > times)  # noqa: B023 - asked before the next turn
            check_frames(actor)
        assert actor.statistics()["frames"]["received"] == sent
        counted = shard.ingest.statistics()
        assert counted["submitted"] == sum(counted["outcomes"].values())


async def test_after_the_actor_was_stopped_the_rest_is_handed_over(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    actor = shard.stream(await shard.view(), window_seconds=50.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        await fill_stream_lane(house, shard)
        async with trio.open_nursery() as stopped:
            stopped.start_soon(actor.run)
            (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0), GARBAGE)
            await trio.sleep(1)
            stopped.cancel_scope.cancel()
        with trio.move_on_after(60) as waiting:
            await actor.wait_flushed()
        assert waiting.cancelled_caught  # the lane is full
        house.store.come_back()
        with trio.fail_after(60):
            await actor.wait_flushed()
            await until(lambda: shard.ingest.statistics()["pending"] == 0)
        assert await house.values("ferry-1") == {"soc_percent": 50.0}
        assert shard.ingest.statistics()["outcomes"]["accepted"] == 2  # and the first of those that filled the lane
        refused = await house.store.list_rejections(HARBOUR, before=None, reason="invalid", limit=9)
        assert [row.sample for row in refused] == [b"garbage"]
        nursery.cancel_scope.cancel()


async def fill_stream_lane(house: House, shard: Shard) -> None:
    """The database goes away and the lane, behind a batch in the actor's hand, takes nothing more."""
    house.store.go_away()
    shard.send(update("ferry-2", 1, soc_percent=1))
    await trio.testing.wait_all_tasks_blocked()
    room = LANES["stream"].capacity - shard.ingest.statistics()["mailbox"]["lanes"]["stream"]["waiting_size"]
    for size in [500] * (room // 500) + [room % 500]:
        if size:
            shard.send(*[update("ferry-2", 1, soc_percent=1)] * size)


async def test_a_full_lane_makes_frames_coalesce_until_there_is_room(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard) as actor:
        socket = await streamer.wait_connected()
        await trio.sleep(5)
        await fill_stream_lane(house, shard)
        for second in range(60):
            socket.say(frame("ferry-1", trio.current_time(), soc_percent=float(second)))
            await trio.sleep(1)
        assert actor.statistics()["unsent"] == 1
        house.store.come_back()
        await trio.sleep(30)
        assert await house.values("ferry-1") == {"soc_percent": 59.0}
        assert await house.sequences("ferry-1") == [1, 2]  # what the lane refused, and all that came while it waited
        check_frames(actor)


async def test_everything_stays_bounded_while_the_database_is_away_for_an_hour(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    """The reader reads on, the socket is never the buffer, and a flapping connection leaves only its newest edges."""
    async with running(shard, window_seconds=5.0) as actor:
        await streamer.wait_connected()
        await fill_stream_lane(house, shard)
        said_at = trio.current_time()
        while trio.current_time() < said_at + 3600:
            socket = streamer.sockets[-1]
            socket.say(*(frame(f"ferry-{n}", trio.current_time(), soc_percent=50.0) for n in (1, 2, 3)), GARBAGE)
            if trio.current_time() % 60 < 10:
                socket.drop()
            await trio.sleep(10)
        statistics = actor.statistics()
        assert statistics["unsent"] <= MAX_UNSENT_EDGES + 1
        assert statistics["frames"]["buffer"]["pending"] <= 3
        assert shard.ingest.statistics()["mailbox"]["lanes"]["stream"]["waiting_size"] <= LANES["stream"].capacity
        received = statistics["frames"]["received"]
        house.store.come_back()
        await trio.sleep(120)
        check_frames(actor)
        assert received > 1000
        assert await house.values("ferry-1") == {"soc_percent": 50.0}
        assert actor.statistics()["unsent"] == 0


# --- coming back


async def test_reconnects_back_off_with_jitter_up_to_a_minute(
    shard: Shard, streamer: ScriptedStreamer, events: Events, autojump_clock: MockClock
) -> None:
    streamer.refusals = [outage() for _ in range(60)]
    async with running(shard):
        await streamer.wait_connected()
    waited = gaps(streamer)
    assert len(waited) == 60
    assert max(waited[:2]) <= 1.0
    assert 30.0 < max(waited) <= 60.0
    assert len(set(waited)) == len(waited)
    names = [event["event"] for event in events]
    assert (names.count("stream_connection_failed"), names.count("stream_connection_recovered")) == (1, 1)


async def test_a_provider_that_asks_for_time_gets_it(
    shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    streamer.refusals = [outage(retry_after=90.0) for _ in range(3)]
    async with running(shard):
        await streamer.wait_connected()
    assert all(90.0 <= gap <= 150.0 for gap in gaps(streamer))


@pytest.mark.parametrize(("lasted", "longest"), [(31.0, 0.5), (5.0, 60.0)])
async def test_only_a_connection_that_lasted_makes_the_next_attempt_quick_again(
    shard: Shard, streamer: ScriptedStreamer, lasted: float, longest: float, autojump_clock: MockClock
) -> None:
    waited = []
    async with running(shard):
        for times in range(1, 16):
            socket = await streamer.wait_connected(times)
            await trio.sleep(lasted)
            dropped_at = trio.current_time()
            socket.drop()
            await streamer.wait_connected(times + 1)
            waited.append(streamer.attempts[-1] - dropped_at)
    assert longest / 4 < max(waited) <= longest + 0.01


async def test_a_provider_that_does_not_answer_pings_is_left(
    shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        socket = await streamer.wait_connected()
        await trio.sleep(70)
        assert len(socket.pings) == 3
        socket.answers_pings = False
        await streamer.wait_connected(2)
        assert trio.current_time() < 70 + 20 + 10 + 1


async def test_edges_of_the_connection_are_facts(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        (await streamer.wait_connected()).drop()
        await streamer.wait_connected(2)
        await trio.sleep(1)
        edges = [kind for provider_id, kind, _ in house.edges() if provider_id == LIVE]
    assert edges == ["call_succeeded", "stream_opened", "stream_closed", "stream_opened"]


async def test_refused_credentials_are_a_fact_whether_at_the_door_or_later(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    streamer.refusals = [refused()]
    async with running(shard):
        socket = await streamer.wait_connected()
        await trio.sleep(1)
        socket.say(DENIED)
        await streamer.wait_connected(2)
        await trio.sleep(1)
    failed = [fault for _, kind, fault in house.edges() if kind == "call_failed"]
    assert failed == ["credentials", "credentials"]


async def test_a_provider_that_was_never_reached_is_a_fact_too(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    """Else its devices would be blamed: no connection was ever opened, so none was closed."""
    streamer.refusals = [outage() for _ in range(100)]
    async with running(shard):
        await trio.sleep(60)
        assert house.edges() == [(LIVE, "call_failed", "outage")]


async def test_a_lost_connection_is_no_failed_call(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        (await streamer.wait_connected()).drop()
        await trio.testing.wait_all_tasks_blocked()
        assert [kind for _, kind, _ in house.edges()][-1] == "stream_closed"


# --- configuration


async def test_it_subscribes_again_when_the_devices_change_and_not_otherwise(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    view = await shard.view()
    actor = shard.stream(view)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        nursery.start_soon(actor.run)
        socket = await streamer.wait_connected()
        await trio.sleep(1)
        await shard.reload(view)
        await trio.sleep(1)
        assert socket.subscriptions == [["x-ferry-1", "x-ferry-2"]]
        await house.add_connection(streamed(), "ferry-3")
        await shard.reload(view)
        await trio.sleep(1)
        assert socket.subscriptions[1:] == [["x-ferry-1", "x-ferry-2", "x-ferry-3"]]
        socket.say(frame("ferry-3", 2, soc_percent=30.0))
        await trio.sleep(3)
        assert await house.values("ferry-3") == {"soc_percent": 30.0}
        nursery.cancel_scope.cancel()


async def test_a_device_that_is_added_while_it_subscribes_is_not_forgotten(
    house: House, shard: Shard, autojump_clock: MockClock
) -> None:
    view = await shard.view()

    class Slow(ScriptedStreamer):
        @asynccontextmanager
        async def connect(self) -> AsyncIterator[StreamSocket]:
            async with super().connect():
                socket = self.sockets[-1]
                subscribe = socket.subscribe

                async def while_something_is_added(external_ids: Any) -> None:
                    await subscribe(external_ids)
                    if len(socket.subscriptions) == 1:
                        await house.add_connection(streamed(), "ferry-3")
                        await shard.reload(view)

                socket.subscribe = while_something_is_added  # type: ignore[method-assign]
                yield socket

    slow = shard.provider.streamers[LIVE] = Slow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.stream(view).run)
        socket = await slow.wait_connected()
        await trio.sleep(5)
        assert socket.subscriptions[-1] == ["x-ferry-1", "x-ferry-2", "x-ferry-3"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "connection",
    [
        streamed(settings={"broken": True}),
        ProviderConnection(HARBOUR, LIVE, "unheard-of", "stream", "wss://live.example", None),
        ProviderConnection(HARBOUR, LIVE, "scripted", "poll", "https://live.example", None),
    ],
)
async def test_a_connection_that_cannot_be_opened_is_a_fact_and_is_tried_again(
    house: House, shard: Shard, connection: ProviderConnection, autojump_clock: MockClock
) -> None:
    await house.store.put_provider(connection)
    async with running(shard) as actor:
        await trio.sleep(300)
        assert actor.statistics()["failures"] > 5
    assert house.edges() == [(LIVE, "call_failed", FaultClass.CONFIGURATION.value)]


async def test_a_stream_without_a_state_endpoint_reads_at_once(
    house: House, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    await house.store.put_provider(streamed(settings={"no_state": True}))
    seed = ScriptedPoller()
    async with running(shard, seed=seed):
        (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(3)
        assert await house.values("ferry-1") == {"soc_percent": 50.0}
    assert seed.calls == []


async def test_submissions_leave_their_lifecycle_records_under_one_trace_id(
    shard: Shard, streamer: ScriptedStreamer, events: Events, autojump_clock: MockClock
) -> None:
    await shard.house.store.put_provider(streamed(settings={"no_state": True}))
    async with running(shard):
        (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0), ECHO)
        await trio.sleep(3)
    steps = [event for event in events if event["event"].startswith("telematics_")]
    assert [step["event"] for step in steps] == [
        "telematics_provider_message_received",
        "telematics_ingress_payload_prepared",
        "telematics_update_accepted",
    ]
    assert len({step["trace_id"] for step in steps}) == 1
    assert steps[0]["frames"] == 2
