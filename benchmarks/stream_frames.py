"""Frames a second: the stream actor with everything behind it, against a bare trio-websocket loop with the same parser.

Both read the same bytes from the same sender. The reference parses each frame and counts it; ours also interprets,
coalesces in the default window, judges and commits, and its time ends when the last value is committed. It is verified
before it counts: the final value of every (vid, signal) must be in its snapshot.
"""

from __future__ import annotations

from contextlib import aclosing
from random import Random
from typing import TYPE_CHECKING

import orjson
import trio
from trio_websocket import open_websocket

from actors.connections import Connector
from actors.fleet import FleetView
from actors.ingest import IngestActor
from actors.session import CurrentSession
from actors.stream import StreamActor
from benchmarks.place import PROVIDER, WORKSPACE, configure, fetch
from domain.model import Ownership
from providers.http import HttpPool
from providers.viriciti import ViriCiti
from providers.websocket import MESSAGE_QUEUE_SIZE, RECEIVE_BUFFER_BYTES
from runtime import garbage
from runtime.clock import SharedClock, SystemClock
from runtime.dialling import Dialler
from runtime.outbound import Allowance
from storage.gateway import Database
from storage.ingest import PostgresIngestStore
from storage.registry import PostgresRegistry
from storage.sessions import PostgresSessionStore
from storage.upkeep import PostgresUpkeepStore

if TYPE_CHECKING:
    from benchmarks.feed import Feed

BUDGET_SECONDS = 300.0


class NotVerified(AssertionError):
    """The work that was timed was not done right; no figure is printed."""


async def measure_reference(feed: Feed, port: int) -> float:
    """Frames a second of the bare loop."""
    async with open_websocket(
        "127.0.0.1",
        port,
        "/",
        use_ssl=False,
        message_queue_size=MESSAGE_QUEUE_SIZE,
        receive_buffer_size=RECEIVE_BUFFER_BYTES,
    ) as socket:
        await socket.send_message("{}")
        received = 0
        garbage.settle()
        first = orjson.loads(await socket.get_message())
        began = trio.current_time()
        last = first
        while received < feed.frames - 1:
            last = orjson.loads(await socket.get_message())
            received += 1
        seconds = trio.current_time() - began
        if last != orjson.loads(feed.payload(feed.frames - 1)):
            raise NotVerified(f"the reference ended with {last}")
        # The sender closes only when we do, and owes nothing any more.
        await trio.aclose_forcefully(socket._stream)
    return feed.frames / seconds


async def measure_ours(feed: Feed, port: int, dsn: str) -> float:
    """Frames a second from the first frame to the last commit."""
    dialler = Dialler(Allowance.parse("127.0.0.1"))
    async with aclosing(Database(dsn)) as database, HttpPool(dialler) as http:
        await configure(PostgresRegistry(database), port, feed.vids())
        await PostgresUpkeepStore(database).ensure_partitions(days_ahead=2)
        sessions, clock, current = PostgresSessionStore(database), SharedClock(SystemClock()), CurrentSession()
        sent_at = clock.monotonic()
        start = await sessions.begin_session("bench", ttl_seconds=600)
        if start is None:
            raise NotVerified("somebody else uses this database")
        clock.observe(sent_at, clock.monotonic(), start.server_time)
        current.replace(start.session)
        fleet = await sessions.load_fleet(WORKSPACE)
        if fleet is None:
            raise NotVerified("the workspace is not there")
        view = FleetView(fleet, Ownership("workspace:bench", *start.session, 1))
        ingest = IngestActor(PostgresIngestStore(database), current, random=Random(1))
        connector = Connector({"viriciti": ViriCiti(http)}, resolve_secret=_no_secret)
        garbage.settle()
        stream = StreamActor(PROVIDER, view, connector, ingest, clock, Random(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingest.run)
            nursery.start_soon(stream.run)
            seconds = await _time_until_committed(feed, stream, ingest)
            nursery.cancel_scope.cancel()
    await _verify(feed, dsn)
    return feed.frames / seconds


async def _no_secret(_: str) -> str:
    return "benchmark"


async def _time_until_committed(feed: Feed, stream: StreamActor, ingest: IngestActor) -> float:
    with trio.fail_after(BUDGET_SECONDS):
        while stream.statistics()["frames"]["received"] == 0:  # noqa: ASYNC110 - an event would be paid for per frame
            await trio.sleep(0.001)
        began = trio.current_time()
        while not _is_done(feed, stream, ingest):  # noqa: ASYNC110 - the same
            await trio.sleep(0.02)
        return trio.current_time() - began


def _is_done(feed: Feed, stream: StreamActor, ingest: IngestActor) -> bool:
    frames = stream.statistics()["frames"]
    return bool(
        frames["received"] >= feed.frames and frames["buffer"]["pending"] == 0 and ingest.statistics()["pending"] == 0
    )


async def _verify(feed: Feed, dsn: str) -> None:
    rows = await fetch(dsn, "SELECT device_id, document FROM snapshots")
    stored = {
        (device_id, signal): value
        for device_id, document in rows
        for signal, (value, _) in orjson.loads(str(document)).items()
        if signal != "charging"
    }
    if stored != feed.final_values():
        wrong = [key for key, value in feed.final_values().items() if stored.get(key) != value]
        raise NotVerified(f"{len(wrong)} final values are not committed, such as {wrong[:3]}")
