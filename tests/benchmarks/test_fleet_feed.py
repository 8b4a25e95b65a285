"""The check of many streams' histories: passes for any coalescing, fails for any lost frame."""

from __future__ import annotations

from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import orjson
import pytest
import trio
from trio_websocket import open_websocket

from benchmarks.feed import ALL_SIGNALS, Readings
from benchmarks.fleet_feed import FleetFeed, check_fleet_history
from benchmarks.fleet_sender import FleetSender
from benchmarks.fleet_watch import p99
from tests.providers.frame_streams import read_with_wsproto

if TYPE_CHECKING:
    from collections.abc import Callable

FEED = FleetFeed(streams=2, vehicles=3, started_ms=1_767_225_600_000)
TURNS = [100, 120]
Histories = dict[str, list[Readings]]


def coalesce(random: Random, keeps: Callable[[int], bool] = lambda _: True) -> Histories:
    """Histories of a merge that takes buffers out at random; `keeps` sees a frame's number."""
    histories: Histories = {}
    number = 0
    for stream, turns in enumerate(TURNS):
        buffers: Histories = {vid: [{}] for vid in FEED.vids(stream)}
        for turn, data in enumerate(islice(FEED.turns(stream), turns)):
            for payload in read_with_wsproto([data]).messages:
                point = orjson.loads(payload)["payload"]
                buffer = buffers[point["vid"]][0]
                if keeps(number):
                    buffer[ALL_SIGNALS[point["label"]]] = (point["value"], point["time"])
                number += 1
                if buffer and (turn == turns - 1 or random.random() < 0.1):
                    histories.setdefault(point["vid"], []).append(dict(buffer))
                    buffer.clear()
    return histories


@pytest.mark.parametrize("seed", range(5))
def test_any_coalescing_of_all_frames_passes(seed: int) -> None:
    assert check_fleet_history(FEED, coalesce(Random(seed)), TURNS) == []


@pytest.mark.parametrize("lost", [0, 1, 50, 299, 300, 659])
def test_one_lost_frame_is_found(lost: int) -> None:
    # Each frame is an event of its own, so that no newer one hides the loss.
    random = Random()
    random.random = lambda: 0.0  # type: ignore[method-assign]
    kept = coalesce(random, lambda number: number != lost)
    assert check_fleet_history(FEED, kept, TURNS) != []


async def test_each_stream_gets_its_own_vehicles_until_the_end() -> None:
    sender = FleetSender(FEED)
    got: dict[int, int] = {}

    async def read(port: int, stream: int) -> None:
        async with open_websocket("127.0.0.1", port, "/", use_ssl=False) as socket:
            for part in (FEED.vids(stream)[:1], FEED.vids(stream)[1:]):
                await socket.send_message(orjson.dumps({"vehicles": dict.fromkeys(part)}).decode())
            while True:
                point = orjson.loads(await socket.get_message())["payload"]
                assert point["vid"] in FEED.vids(stream)
                got[stream] = got.get(stream, 0) + 1

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, sender.serve, 0, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
            for stream in range(FEED.streams):
                nursery.start_soon(read, listener.socket.getsockname()[1], stream)
            await sender.wait_subscribed()
            sender.go(seconds=0.5, rate=300.0)
            await sender.done.wait()
            while got != {stream: 3 * sender.sent[stream] for stream in range(2)}:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert all(20 <= sent <= 30 for sent in sender.sent)
    assert [len(times) for times in sender.sent_at] == sender.sent


def test_the_ninety_ninth_percentile_is_of_all_values() -> None:
    assert (p99([]), p99([5.0]), p99([float(n) for n in range(200)])) == (float("inf"), 5.0, 198.0)
