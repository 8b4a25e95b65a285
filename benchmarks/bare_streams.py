"""The reference of the streams' benchmark: a bare trio-websocket loop on each stream that parses
JSON.

It only subscribes, receives, parses each frame and keeps every vehicle's latest values in a
dictionary. Shares no code with the product. It ends when its parent has said how many turns each
stream sent: it receives these and says how long they took. `python -m benchmarks.bare_streams PORT
STREAMS VEHICLES MS`.
"""

from __future__ import annotations

import sys
import time

import orjson
import trio
from trio_websocket import open_websocket

from benchmarks.fleet_feed import FleetFeed
from benchmarks.workers import hear_word, say

QUEUE = 16  # messages; a longer queue is not faster
RECEIVE_BYTES = 65_536


class Streams:
    """The frames of all streams, counted, and the times of the first and of the last one."""

    def __init__(self, port: int, feed: FleetFeed) -> None:
        self._port = port
        self._feed = feed
        self.received = 0
        self.began = self.ended = self.cores_before = self.cores_after = 0.0

    async def read(self, stream: int) -> None:
        """Read one stream for ever."""
        latest: dict[tuple[str, str], tuple[int, float]] = {}
        async with open_websocket(
            "127.0.0.1",
            self._port,
            "/",
            use_ssl=False,
            message_queue_size=QUEUE,
            receive_buffer_size=RECEIVE_BYTES,
        ) as socket:
            wanted: dict[str, list[str]] = {vid: [] for vid in self._feed.vids(stream)}
            await socket.send_message(orjson.dumps({"vehicles": wanted}).decode())
            while True:
                frame = await socket.get_message()
                if not self.received:
                    self.began, self.cores_before = time.monotonic(), time.process_time()
                point = orjson.loads(frame)["payload"]
                latest[point["vid"], point["label"]] = (point["time"], point["value"])
                self.received += 1

    async def wait_received(self, frames: int) -> None:
        """Wait until so many frames have come; the caller has a deadline."""
        while self.received < frames:  # noqa: ASYNC110 - an event would cost each frame
            await trio.sleep(0.01)
        self.ended, self.cores_after = time.monotonic(), time.process_time()


async def main(port: int, feed: FleetFeed) -> None:
    """Receive until the parent says how many frames were sent; tell it what they cost."""
    streams = Streams(port, feed)
    async with trio.open_nursery() as nursery:
        for stream in range(feed.streams):
            nursery.start_soon(streams.read, stream)
        await streams.wait_received(int(await hear_word()))
        say(
            frames=streams.received,
            seconds=streams.ended - streams.began,
            cores=streams.cores_after - streams.cores_before,
        )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), FleetFeed(*(int(argument) for argument in sys.argv[2:5])))
