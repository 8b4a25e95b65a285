"""Twenty streams of 5,000 vehicles: a whole service that coalesces, judges and commits, against a
bare trio-websocket loop that only parses JSON.

Both sides are offered as many frames as they take, in the same run, the bare loop before and after
the service. Then the service gets 70% of what it took, and is watched: how long until a frame can
be read. Before a figure counts, every frame is accounted for, event by event.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from benchmarks import cores
from benchmarks.figure import Figure
from benchmarks.fleet_feed import FleetFeed, check_fleet_history
from benchmarks.fleet_watch import Watch, p99
from benchmarks.place import fetch, fetch_until, name_of, read_events
from benchmarks.rounds import Cost
from benchmarks.service import Template, migrate_and_make_key, open_service
from benchmarks.trees import inspect, present_folder
from benchmarks.verification import check_sequences, parse_readings, require
from benchmarks.workers import Worker, open_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.place import Place
    from benchmarks.service import Service
    from benchmarks.trees import Tree

WINDOW_SECONDS = 1.0
LOAD = 0.7  # of what the service takes at most, when it is watched
COMMIT_SECONDS = 30.0
LOOK_SECONDS = 0.5
MUST_RATE, MUST_CORES, MUST_SECONDS, MUST_GROWTH = 1.2, 0.8, WINDOW_SECONDS + 0.5, 1.5
FINISHED = "SELECT count(*) FROM device_state WHERE last_observed_at >= to_timestamp($1::float8)"
LAST_COMMIT = "SELECT extract(epoch FROM clock_timestamp() - max(recorded_at))::float8 FROM events"


class Shape(NamedTuple):
    """So many streams, each with a workspace and so many vehicles of its own."""

    streams: int
    vehicles: int

    def new_feed(self) -> FleetFeed:
        """Return a feed that begins an hour ago, so that no reading lies in the future."""
        return FleetFeed(*self, int(datetime.now(UTC).timestamp() * 1000) - 3_600_000)


SHAPE = Shape(20, 250)


class Plan(NamedTuple):
    """Seconds of sending: to the service, to the bare loop each time, and while it is watched."""

    ours: float
    reference: float
    watched: float


QUICK, FULL = Plan(20.0, 6.0, 10.0), Plan(60.0, 15.0, 60.0)


class Taken(NamedTuple):
    """What the service did. `pending` are the updates without a verdict at each look.

    `values` are the readings that it stored a second. Fewer than the frames: some were superseded.
    """

    cost: Cost
    pending: list[int]
    latencies: list[float]
    values: float


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Measure both sides and the time until a frame can be read. Raises NotVerified."""
    plan = QUICK if quick else FULL
    tree = await inspect("the present tree", present_folder())
    template = await prepare_streams(tree, place, SHAPE)
    before = await measure_reference(tree, plan.reference)
    ours = await measure_ours(template, place, SHAPE, plan.ours, 0.0)
    after = await measure_reference(tree, plan.reference)
    watched = await measure_ours(template, place, SHAPE, plan.watched, LOAD * ours.cost.rate)
    return _judge(ours, (before, after), watched)


def _judge(ours: Taken, references: tuple[Cost, Cost], watched: Taken) -> list[Figure]:
    rate = sum(cost.rate for cost in references) / 2
    cores_us = sum(cost.cores_us for cost in references) / 2
    third = max(1, len(ours.pending) // 3)
    early, late = max(ours.pending[:third]), max(ours.pending[-third:])
    seen = {
        "frames a second": ours.cost.rate,
        "reference's frames a second": rate,
        "µs of our process a frame": ours.cost.own_us,
        "µs of PostgreSQL a frame": ours.cost.database_us,
        "reference's µs a frame": cores_us,
    }
    return [
        Figure("B1 frames a second", ours.cost.rate / rate, MUST_RATE, seen=seen),
        Figure("B1 core time a frame", ours.cost.cores_us / cores_us, MUST_CORES, at_most=True),
        Figure(
            "B1 seconds until a frame is readable, p99",
            p99(watched.latencies),
            MUST_SECONDS,
            at_most=True,
            seen={"frames a second": watched.cost.rate, "looks": len(watched.latencies)},
        ),
        Figure(
            "B1 pending updates, end against beginning",
            late / max(early, SHAPE.streams * SHAPE.vehicles),
            MUST_GROWTH,
            at_most=True,
            seen={"pending at the beginning": early, "pending at the end": late},
        ),
    ]


async def measure_reference(tree: Tree, seconds: float) -> Cost:
    """Measure the bare loop, from its first frame to its last. Raises WorkerFailed."""
    feed = SHAPE.new_feed()
    async with _open_sender(tree, feed) as (sender, port):
        command = tree.command("benchmarks.bare_streams", port, *feed)
        async with open_worker("the streams' reference", command, tree.environment()) as worker:
            await sender.hear("subscribed")
            await sender.tell(f"{seconds} 0")
            frames = sum((await sender.hear("turns"))["turns"]) * feed.vehicles
            await worker.tell(str(frames))
            told = await worker.hear("seconds")
    return Cost(frames / told["seconds"], 1e6 * told["cores"] / frames, 0.0)


async def measure_ours(
    template: Template,
    place: Place,
    shape: Shape,
    seconds: float,
    rate: float,
    window_seconds: float = WINDOW_SECONDS,
) -> Taken:
    """Measure the service, from the first frame to the last commit. Raises NotVerified.

    `rate` is in frames a second over all streams; 0 is as fast as the service takes them.
    `window_seconds` is for how long the service coalesces.
    """
    feed = shape.new_feed()
    dsn = await place.new_database(template.database)
    settings = {"stream_window_seconds": f"{window_seconds:g}"}
    async with (
        _open_sender(template.tree, feed) as (sender, port),
        open_service(template.tree, dsn, template.key, **settings) as service,
    ):
        for stream in range(feed.streams):
            await service.put_provider(
                workspace_of(stream), f"http://127.0.0.1:{port}", active=True
            )
        await sender.hear("subscribed")
        await trio.sleep(2 * window_seconds)  # the seeds are through
        await place.checkpoint()
        own, database = cores.of_process(service.pid), place.core_seconds()
        await sender.tell(f"{seconds} {rate}")
        async with Watch(dsn, feed).watching() as watch:
            pending = await _look_on(service, seconds)
        told = await sender.hear("turns")
        frames = sum(told["turns"]) * feed.vehicles
        await _wait_committed(dsn, feed, told["turns"])
        await trio.sleep(2 * window_seconds)  # streams that sent more turns than others
        own, database = cores.of_process(service.pid) - own, place.core_seconds() - database
        lasted = await _last_commit(dsn) - told["began"]
        histories = await _verify(service, dsn, feed, told["turns"])
    await place.drop_database(dsn)
    latencies = watch.latencies(histories, told["sent_at"]) if rate else []
    cost = Cost(frames / lasted, 1e6 * own / frames, 1e6 * database / frames)
    stored = sum(len(event) for history in histories.values() for event in history)
    return Taken(cost, pending, latencies, stored / lasted)


async def _look_on(service: Service, seconds: float) -> list[int]:
    """Return how many updates had no verdict, at each look while frames are sent."""
    pending = []
    deadline = trio.current_time() + seconds
    while trio.current_time() < deadline:
        await trio.sleep(LOOK_SECONDS)
        pending.append(int((await service.runtime())["ingest"]["pending"]))
    return pending


async def _wait_committed(dsn: str, feed: FleetFeed, turns: list[int]) -> None:
    """Wait until every vehicle's last frame is in its snapshot, or the time for it is over."""
    last = (feed.started_ms + min(turns) - 1) / 1000
    await fetch_until(dsn, COMMIT_SECONDS, feed.streams * feed.vehicles, FINISHED, last)


async def _last_commit(dsn: str) -> float:
    """Return when the last event was recorded, on this machine's monotonic clock."""
    ((age,),) = await fetch(dsn, LAST_COMMIT)
    return time.monotonic() - float(age)


async def _verify(
    service: Service, dsn: str, feed: FleetFeed, turns: list[int]
) -> dict[str, list[Any]]:
    """Check the service's counts and every stored event; return each vehicle's events in order."""
    runtime = await service.runtime()
    frames = sum(turns) * feed.vehicles
    rows = []
    for stream in range(feed.streams):
        rows += await read_events(dsn, workspace_of(stream))
    histories: dict[str, list[Any]] = {}
    for vid, _, text in rows:
        histories.setdefault(vid, []).append(parse_readings(text))
    counted = {name: runtime["shard"]["frames"][name] for name in ("received", "merged", "pending")}
    ingest = runtime["ingest"]
    faults = []
    if counted != {"received": frames, "merged": frames, "pending": 0}:
        faults.append(f"identities: the service counts {counted}; {frames:,} frames were sent")
    if (ingest["submitted"], ingest["outcomes"].get("accepted")) != (len(rows), len(rows)):
        faults.append(f"identities: {len(rows):,} events are stored; it counts {ingest}")
    require([*faults, *check_sequences(rows), *check_fleet_history(feed, histories, turns)])
    return histories


async def prepare_streams(tree: Tree, place: Place, shape: Shape) -> Template:
    """Migrate and configure a database with a workspace for each stream."""
    dsn, feed = await place.new_database(), shape.new_feed()
    key = await migrate_and_make_key(tree, dsn)
    async with open_service(tree, dsn, key) as service:
        for stream in range(feed.streams):
            await service.put_fleet(workspace_of(stream), feed.vids(stream))
    return Template(tree, name_of(dsn), key)


def workspace_of(stream: int) -> str:
    return f"fleet-{stream:02d}"


@asynccontextmanager
async def _open_sender(tree: Tree, feed: FleetFeed) -> AsyncIterator[tuple[Worker, int]]:
    """Run a sender process until the end of the block; yield it and its port."""
    command = tree.command("benchmarks.fleet_sender", *feed)
    async with open_worker("the streams' sender", command, tree.environment()) as sender:
        yield sender, (await sender.hear("port"))["port"]
