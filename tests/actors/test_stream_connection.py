"""The stream actor's connection: it comes back, records its facts and follows the configuration."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from domain.model import FaultClass, ProviderConnection
from tests.actors.harness import HARBOUR, LIVE, streamed
from tests.actors.polling import ScriptedPoller
from tests.actors.scripted import DENIED, ECHO, ScriptedStreamer, frame, outage, refused
from tests.actors.streaming import gaps, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from trio.testing import MockClock

    from ports.providers import StreamSocket
    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]


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
    assert (
        names.count("stream_connection_failed"),
        names.count("stream_connection_recovered"),
    ) == (1, 1)


async def test_a_provider_that_asks_for_time_gets_it(
    shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    streamer.refusals = [outage(retry_after=90.0) for _ in range(3)]
    async with running(shard):
        await streamer.wait_connected()
    assert all(90.0 <= gap <= 150.0 for gap in gaps(streamer))


@pytest.mark.parametrize(("lasted", "longest"), [(31.0, 0.5), (5.0, 60.0)])
async def test_only_after_a_connection_that_lasted_is_the_next_quick(
    shard: Shard,
    streamer: ScriptedStreamer,
    lasted: float,
    longest: float,
    autojump_clock: MockClock,
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
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        (await streamer.wait_connected()).drop()
        await streamer.wait_connected(2)
        await trio.sleep(1)
        edges = [kind for provider_id, kind, _ in harness.edges() if provider_id == LIVE]
    assert edges == ["stream_opened", "call_succeeded", "stream_closed", "stream_opened"]


async def test_refused_credentials_are_a_fact_at_once_or_later(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    streamer.refusals = [refused()]
    async with running(shard):
        socket = await streamer.wait_connected()
        await trio.sleep(1)
        socket.say(DENIED)
        await streamer.wait_connected(2)
        await trio.sleep(1)
    failed = [fault for _, kind, fault in harness.edges() if kind == "stream_closed"]
    assert failed == ["credentials", "credentials"]


async def test_an_error_frame_is_logged_once_and_kept(
    harness: Harness,
    shard: Shard,
    streamer: ScriptedStreamer,
    events: Events,
    autojump_clock: MockClock,
) -> None:
    async with running(shard) as actor:
        for times in (1, 2):
            (await streamer.wait_connected(times)).say(DENIED)
        await streamer.wait_connected(3)
        await trio.sleep(5)
        assert actor.statistics().frames.faults == {"credentials": 2}
    logged = [event["fault"] for event in events if event["event"] == "stream_frames_failed"]
    assert logged == ["credentials"]
    kept = await harness.store.list_rejections(HARBOUR, before=None, reason="malformed", limit=9)
    assert {row.sample for row in kept} == {b"denied"}


async def test_bad_frames_are_one_trouble_until_a_minute_without_any(
    shard: Shard, streamer: ScriptedStreamer, events: Events, autojump_clock: MockClock
) -> None:
    async with running(shard):
        socket = await streamer.wait_connected()
        for second in range(120):
            socket.say(
                frame("ferry-1", second, speed_kmh=second),
                *["garbage"] * (second < 40 and second % 5 == 0),
            )
            await trio.sleep(1)
    edges = [event for event in events if str(event["event"]).startswith("stream_frames_")]
    assert [event["event"] for event in edges] == [
        "stream_frames_failed",
        "stream_frames_recovered",
    ]
    assert edges[1]["failures"] == 8


async def test_a_provider_that_was_never_reached_is_a_fact_too(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    """Else its devices would be blamed: no connection was ever opened, so none was closed."""
    streamer.refusals = [outage() for _ in range(100)]
    async with running(shard):
        await trio.sleep(60)
        assert harness.edges() == [(LIVE, "stream_closed", "outage")]


async def test_a_lost_connection_is_no_failed_call(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        (await streamer.wait_connected()).drop()
        await trio.testing.wait_all_tasks_blocked()
        assert [kind for _, kind, _ in harness.edges()][-1] == "stream_closed"


# --- configuration


async def test_it_subscribes_again_only_when_the_devices_change(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
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
        await harness.add_connection(streamed(), "ferry-3")
        await shard.reload(view)
        await trio.sleep(1)
        assert socket.subscriptions[1:] == [["x-ferry-1", "x-ferry-2", "x-ferry-3"]]
        socket.say(frame("ferry-3", 2, soc_percent=30.0))
        await trio.sleep(3)
        assert await harness.values("ferry-3") == {"soc_percent": 30.0}
        nursery.cancel_scope.cancel()


async def test_a_device_added_while_it_subscribes_is_not_forgotten(
    harness: Harness, shard: Shard, autojump_clock: MockClock
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
                        await harness.add_connection(streamed(), "ferry-3")
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
async def test_a_connection_that_cannot_be_opened_is_tried_again(
    harness: Harness, shard: Shard, connection: ProviderConnection, autojump_clock: MockClock
) -> None:
    await harness.store.put_provider(connection)
    async with running(shard) as actor:
        await trio.sleep(300)
        assert actor.statistics().failures > 5
    assert harness.edges() == [(LIVE, "stream_closed", FaultClass.CONFIGURATION.value)]


async def test_a_stream_without_a_state_endpoint_reads_at_once(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    await harness.store.put_provider(streamed(settings={"no_state": True}))
    seed = ScriptedPoller()
    async with running(shard, seed=seed):
        (await streamer.wait_connected()).say(frame("ferry-1", 0, soc_percent=50.0))
        await trio.sleep(3)
        assert await harness.values("ferry-1") == {"soc_percent": 50.0}
    assert seed.calls == []


async def test_a_submission_is_logged_under_one_trace_id(
    shard: Shard, streamer: ScriptedStreamer, events: Events, autojump_clock: MockClock
) -> None:
    await shard.harness.store.put_provider(streamed(settings={"no_state": True}))
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
