"""The reference of the frame benchmark: a bare trio-websocket loop with a parser of its own.

It only subscribes, receives, parses each frame and keeps every vehicle's latest values in a
dictionary. Shares no code with the product. `python -m benchmarks.bare_frames PORT VEHICLES TURNS
MS BURST`.
"""

from __future__ import annotations

import sys
import time

import orjson
import trio
from trio_websocket import open_websocket

from benchmarks.feed import Feed
from benchmarks.workers import say

QUEUE = 16  # messages; a longer queue is not faster
RECEIVE_BYTES = 65_536


async def main(port: int, feed: Feed) -> None:
    """Receive the whole feed; tell the parent how long it took from the first frame to the last."""
    latest: dict[tuple[str, str], tuple[int, float]] = {}
    async with open_websocket(
        "127.0.0.1",
        port,
        "/",
        use_ssl=False,
        message_queue_size=QUEUE,
        receive_buffer_size=RECEIVE_BYTES,
    ) as socket:
        await socket.send_message(
            orjson.dumps({"vehicles": {vid: [] for vid in feed.vids()}}).decode()
        )
        frame = await socket.get_message()
        began, cores = time.monotonic(), time.process_time()
        for _ in range(feed.frames - 1):
            _keep(latest, frame)
            frame = await socket.get_message()
        _keep(latest, frame)
        seconds, cores = time.monotonic() - began, time.process_time() - cores
        _check(latest, feed)
        say(seconds=seconds, cores=cores)
        # The sender has sent everything, and closes only when we do.
        await trio.aclose_forcefully(socket._stream)


def _keep(latest: dict[tuple[str, str], tuple[int, float]], frame: str | bytes) -> None:
    point = orjson.loads(frame)["payload"]
    latest[point["vid"], point["label"]] = (point["time"], point["value"])


def _check(latest: dict[tuple[str, str], tuple[int, float]], feed: Feed) -> None:
    """End the process with a message unless the last frame of every vehicle has come."""
    newest: dict[str, int] = {}
    for (vid, _), (at, _) in latest.items():
        newest[vid] = max(at, newest.get(vid, 0))
    if newest != dict.fromkeys(feed.vids(), feed.last_ms):
        raise SystemExit("the reference did not receive the feed")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), Feed(*(int(argument) for argument in sys.argv[2:])))
