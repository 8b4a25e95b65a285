"""Frames a second: a whole service on one stream, against a bare loop that only receives and
parses.

Both read the same feed from a sender of their own. The service interprets, coalesces in its window,
judges and commits; its time ends with the commit of the last value. Before a run counts, it is
verified event by event: no frame may be missing from the history, even if newer ones came after it.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from benchmarks import cores
from benchmarks.names import FRAMES
from benchmarks.place import fetch, fetch_until, read_events
from benchmarks.rounds import Cost
from benchmarks.service import open_service
from benchmarks.verification import (
    NotVerified,
    check_frames,
    check_granularity,
    check_history,
    check_sequences,
    require,
)
from benchmarks.workers import Worker, WorkerFailed, open_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.feed import Feed
    from benchmarks.place import Place
    from benchmarks.service import Service, Template
    from benchmarks.trees import Tree

COMMIT_SECONDS = 60.0  # after the last frame was sent; a run that meets its aim needs far less

# Devices whose last reading is the feed's last; and how long ago the last event was recorded.
FINISHED = """
    SELECT count(*) FROM device_state
    WHERE workspace_id = $1 AND last_observed_at >= to_timestamp($2::float8)"""
LAST_COMMIT = "SELECT extract(epoch FROM clock_timestamp() - max(recorded_at))::float8 FROM events"


async def measure_reference(tree: Tree, feed: Feed) -> Cost:
    """Measure the bare loop, from the first frame to the last."""
    async with _open_sender(tree, feed) as (sender, port):
        command = tree.command("benchmarks.bare_frames", port, *feed)
        async with open_worker("the frames' reference", command, tree.environment()) as worker:
            await sender.hear("subscribed")
            await sender.tell("go")
            told = await worker.hear("seconds")
    return Cost(feed.frames / told["seconds"], 1e6 * told["cores"] / feed.frames, 0.0)


async def measure_ours(template: Template, place: Place, feed: Feed, window_seconds: float) -> Cost:
    """Measure a tree's service, from the first frame sent to the last commit.

    Raises NotVerified.
    """
    dsn = await place.new_database(template.database)
    window = {"stream_window_seconds": f"{window_seconds:g}"}
    async with (
        _open_sender(template.tree, feed) as (sender, port),
        open_service(template.tree, dsn, template.key, **window) as service,
    ):
        await _wait_subscribed(service, sender, port)
        own, database = cores.of_process(service.pid), place.core_seconds()
        await sender.tell("go")
        began = (await sender.hear("began"))["began"]
        await _wait_committed(dsn, feed)
        own, database = cores.of_process(service.pid) - own, place.core_seconds() - database
        seconds = await _last_commit(dsn) - began
        await _verify(service, dsn, feed, seconds / window_seconds)
    await place.drop_database(dsn)
    return Cost(feed.frames / seconds, 1e6 * own / feed.frames, 1e6 * database / feed.frames)


async def _wait_subscribed(service: Service, sender: Worker, port: int) -> None:
    """Switch the stream on, and wait until the whole fleet is subscribed to."""
    await service.put_provider(FRAMES, f"http://127.0.0.1:{port}", active=True)
    try:
        await sender.hear("subscribed")
    except WorkerFailed as failure:
        raise WorkerFailed(f"{failure}\nthe service says:\n{service.tail()}") from failure


async def _wait_committed(dsn: str, feed: Feed) -> None:
    """Wait until every vehicle's last frame is in its snapshot.

    Asks the database and not the service. Raises NotVerified after COMMIT_SECONDS.
    """
    finished = await fetch_until(
        dsn, COMMIT_SECONDS, feed.vehicles, FINISHED, FRAMES, feed.last_ms / 1000
    )
    if finished < feed.vehicles:
        raise NotVerified(
            f"rows: {finished} of {feed.vehicles} vehicles have their last values "
            f"{COMMIT_SECONDS:g} s after the end"
        )


async def _last_commit(dsn: str) -> float:
    """Return when the last event was recorded, on this machine's monotonic clock."""
    ((age,),) = await fetch(dsn, LAST_COMMIT)
    return time.monotonic() - float(age)


async def _verify(service: Service, dsn: str, feed: Feed, windows: float) -> None:
    runtime = await service.runtime()
    events = await read_events(dsn, FRAMES)
    require(
        [
            *check_frames(feed, runtime["shard"]["frames"], runtime["ingest"], len(events)),
            *check_sequences(events),
            *check_history(feed, events),
            *check_granularity(feed, events, windows),
        ]
    )


@asynccontextmanager
async def _open_sender(tree: Tree, feed: Feed) -> AsyncIterator[tuple[Worker, int]]:
    """Run a sender process until the end of the block; yield it and its port."""
    command = tree.command("benchmarks.sender", *feed)
    async with open_worker("the sender", command, tree.environment()) as sender:
        yield sender, (await sender.hear("port"))["port"]
