"""A provider with many streams, in a process of its own: each sends its turns until it is told.

It begins when every vehicle is subscribed to and the parent says so: `SECONDS RATE`. The rate is in
frames a second over all streams; 0 is as fast as the sockets take them. Then it says how many turns
each stream sent and, of a rate, when each turn went out (wall clock). `python -m
benchmarks.fleet_sender STREAMS VEHICLES MS`.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import orjson
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from benchmarks.feed import vehicle_of
from benchmarks.fleet_feed import FleetFeed
from benchmarks.sender import CHUNK, answer_state, answer_to, read_head
from benchmarks.workers import hear_word, say

if TYPE_CHECKING:
    from wsproto.events import Event

SEND_BUFFER = 262_144  # small, so that what was sent is soon read


class FleetSender:
    """One feed for one subscriber of each stream. A second one would count frames twice."""

    def __init__(self, feed: FleetFeed) -> None:
        self._feed = feed
        self._missing = [set(feed.vids(stream)) for stream in range(feed.streams)]
        self._subscribed = trio.Event()
        self._go = trio.Event()
        self._seconds = self._rate = 0.0
        self._began = 0.0
        self._sending = 0
        self.sent = [0] * feed.streams  # turns
        self.sent_at: list[list[float]] = [[] for _ in range(feed.streams)]
        self.done = trio.Event()

    async def wait_subscribed(self) -> None:
        """Return when every vehicle was subscribed to. No deadline: the parent has one."""
        await self._subscribed.wait()

    def go(self, seconds: float, rate: float) -> None:
        """Begin to send."""
        self._seconds, self._rate, self._began = seconds, rate, trio.current_time()
        self._go.set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection: the state endpoint, or a live stream."""
        try:
            head = await read_head(stream)
            if head.startswith(b"POST"):
                await answer_state(stream, head)
            else:
                await self._serve_stream(stream, head)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    async def _serve_stream(self, stream: trio.SocketStream, head: bytes) -> None:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, SEND_BUFFER)
        wire, lock = WSConnection(ConnectionType.SERVER), trio.Lock()
        wire.receive_data(head)
        async with trio.open_nursery() as nursery:
            await self._listen(stream, wire, lock, nursery)
            nursery.cancel_scope.cancel()

    async def _listen(
        self, stream: trio.SocketStream, wire: WSConnection, lock: trio.Lock, nursery: trio.Nursery
    ) -> None:
        """Read until the client closes; its first message says which stream it wants."""
        message = b""
        while True:
            for event in wire.events():
                if isinstance(event, TextMessage | BytesMessage):
                    message += _as_bytes(event)
                    if event.message_finished:
                        number = self._note_subscription(message)
                        if not self._missing[number]:
                            nursery.start_soon(self._send, number, stream, lock)
                        message = b""
                elif (answer := answer_to(event)) is not None:
                    async with lock:
                        await stream.send_all(wire.send(answer))
                if isinstance(event, CloseConnection):
                    return
            chunk = await stream.receive_some(CHUNK)
            if not chunk:
                return
            wire.receive_data(bytes(chunk))

    def _note_subscription(self, message: bytes) -> int:
        """Return the number of the stream. Ends the process if it is subscribed to again."""
        vids = orjson.loads(message)["vehicles"].keys()
        number = vehicle_of(min(vids)) // self._feed.vehicles
        if not self._missing[number]:
            raise SystemExit(f"stream {number} was lost: it is subscribed to again")
        self._missing[number] -= vids
        if not any(self._missing):
            self._subscribed.set()
        return number

    async def _send(self, number: int, stream: trio.SocketStream, lock: trio.Lock) -> None:
        await self._go.wait()
        self._sending += 1
        interval = self._interval()
        due = self._began + interval * number / self._feed.streams
        for turn in self._feed.turns(number):
            if interval:
                await trio.sleep_until(due)
                due += interval
                self.sent_at[number].append(time.time())
            async with lock:
                await stream.send_all(turn)
            self.sent[number] += 1
            if trio.current_time() - self._began >= self._seconds:
                break
        self._sending -= 1
        if not self._sending:
            self.done.set()

    def _interval(self) -> float:
        """Return the seconds between two turns of one stream; 0 for no pause."""
        frames = self._feed.streams * self._feed.vehicles
        return frames / self._rate if self._rate else 0.0


def _as_bytes(event: Event) -> bytes:
    data = event.data if isinstance(event, TextMessage | BytesMessage) else b""
    return data.encode() if isinstance(data, str) else bytes(data)


async def _obey_parent(sender: FleetSender) -> None:
    await sender.wait_subscribed()
    say(subscribed=True)
    seconds, rate = (await hear_word()).split()
    began = time.monotonic()
    sender.go(float(seconds), float(rate))
    await sender.done.wait()
    say(turns=sender.sent, sent_at=sender.sent_at, began=began)


async def main(feed: FleetFeed) -> None:
    """Serve until the parent ends; tell it the port first."""
    parent, sender = os.getppid(), FleetSender(feed)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, sender.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        say(port=listeners[0].socket.getsockname()[1])
        nursery.start_soon(_obey_parent, sender)
        while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sends no event for it
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, FleetFeed(*(int(argument) for argument in sys.argv[1:4])))
