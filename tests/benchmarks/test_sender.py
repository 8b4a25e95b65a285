"""The sender reads subscriptions and requests whole, whatever their size."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest
import trio
from trio_websocket import open_websocket

from benchmarks.feed import Feed
from benchmarks.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FEED = Feed(vehicles=5_000, turns=1, started_ms=0)


@asynccontextmanager
async def serving(feed: Feed) -> AsyncIterator[tuple[Sender, int]]:
    sender = Sender(feed)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, sender.serve, [listener])
        yield sender, listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("parts", [1, 3])
async def test_a_subscription_of_5000_vehicles_is_read_whole(parts: int) -> None:
    vids = FEED.vids()
    async with (
        serving(FEED) as (sender, port),
        open_websocket("127.0.0.1", port, "/", use_ssl=False) as socket,
    ):
        for start in range(parts):
            query = {vid: ["soc", "speed", "odometer"] for vid in vids[start::parts]}
            await socket.send_message(orjson.dumps({"vehicles": query}).decode())
        with trio.fail_after(10):
            await sender.wait_subscribed()
            sender.go()
            frames = [orjson.loads(await socket.get_message()) for _ in range(FEED.frames)]
            await socket.ping()
    assert [frame["payload"]["vid"] for frame in frames] == vids


async def test_a_large_request_for_state_is_read_whole_and_answered() -> None:
    async with serving(FEED) as (_, port), httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{port}/api/v2/state", content=b"x" * 300_000)
    assert answer.json() == {}
