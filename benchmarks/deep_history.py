"""What 30 days of history cost: two services, one of them over millions of old events.

Both have the same fleet and the same settings, on one server. They are asked in turn, one request
at a time, and medians are compared: ingest, health, the worklist, a page of events. Then a second
shard drops a third of the history, and the longest ingest request meanwhile is taken.

`python -m benchmarks.deep_history --millions 50` measures with a longer history.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import trio

from benchmarks.figure import Figure
from benchmarks.history_fill import fill
from benchmarks.load import SIGNALS, device_of
from benchmarks.names import PROVIDER
from benchmarks.place import fetch, name_of, open_place
from benchmarks.progress import Progress
from benchmarks.rounds import in_turn
from benchmarks.service import PREFIX, migrate_and_make_key, open_service
from benchmarks.trees import inspect, present_folder
from benchmarks.verification import NotVerified, require
from runtime.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from benchmarks.place import Place
    from benchmarks.service import Service
    from benchmarks.trees import Tree

    Ask = Callable[[Service, int], Awaitable[float]]  # the service and the pair; seconds

DAYS: Final = 30
KEPT_DAYS: Final = 20  # after the drop
WORKSPACES: Final = 20
DEVICES: Final = 500  # of each workspace
BATCH: Final = 500  # updates
PAGE: Final = 50  # events
SILENT_EVERY: Final = 10  # one device of so many never reports, so that there is a worklist
GRACE_SECONDS: Final = 1.0
LEAST_SHARE: Final = 0.95
LEAST_SHARE_OF_EVENTS: Final = 0.8
LONGEST_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 300.0
DROP_SECONDS: Final = 300.0
_WARM_UP: Final = 5

PARTITIONS: Final = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass"
# Of each database: events, versions of the states, and devices whose history ends elsewhere.
CHECK: Final = """
SELECT (SELECT count(*) FROM events), (SELECT sum(version)::bigint FROM device_state),
       (SELECT count(*) FROM device_state s JOIN snapshots n USING (workspace_id, device_id)
        WHERE n.version <> s.version)"""


class Sides(NamedTuple):
    """The service over the long history, and the one without."""

    full: Service
    empty: Service


class Taken(NamedTuple):
    """Median seconds of one kind of request, of both sides."""

    full: float
    empty: float

    def as_figure(self, name: str, must: float) -> Figure:
        seen = {"ms with history": 1000 * self.full, "ms without": 1000 * self.empty}
        return Figure(name, self.empty / self.full, must, seen=seen)


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Measure with 5 million events, or a tenth of them."""
    return await measure_millions(place, 0.5 if quick else 5.0, pairs=30 if quick else 100)


async def measure_millions(place: Place, millions: float, *, pairs: int) -> list[Figure]:
    """Return one figure for each kind of request, and one for the drop. Raises NotVerified."""
    progress = Progress()
    tree = await inspect("the present tree", present_folder())
    per_day = max(1, round(millions * 1e6 / (DAYS * WORKSPACES * len(_lively()))))
    empty, key = await _prepare(tree, place)
    full = await place.new_database(name_of(empty))
    filled = await fill(full, days=DAYS, per_day=per_day, progress=progress)
    await fill(empty, days=0, per_day=per_day, progress=progress)  # its rows are written anew, too
    progress.tell(f"{filled:,} events are filled in")
    async with _both(tree, full, empty, key) as sides:
        figures = [
            (await _in_pairs(sides, pairs, ask)).as_figure(name, must)
            for name, ask, must in (
                ("B9", _ingest, LEAST_SHARE),
                ("B9 health", _ask_health, LEAST_SHARE),
                ("B9 worklist", _ask_worklist, LEAST_SHARE),
                ("B9 page of events", _ask_events, LEAST_SHARE_OF_EVENTS),
            )
        ]
        await _verify(full, empty, filled)
        progress.tell("both were asked; now a shard drops what is too old")
        figures.append(await _measure_drop(tree, full, key, sides.full))
    return figures


async def _prepare(tree: Tree, place: Place) -> tuple[str, str]:
    """Return a database with the fleet, in which every device has reported, and a key."""
    dsn = await place.new_database()
    key = await migrate_and_make_key(tree, dsn)
    async with open_service(tree, dsn, key) as service:
        for number in range(WORKSPACES):
            await _put_pushed_fleet(service, _workspace(number))
        for number in range(WORKSPACES):
            busy = [_update(number, 1, timedelta(milliseconds=n)) for n in range(PAGE, 0, -1)]
            await _post(service, busy)
            await _post(service, _updates(number, _lively()))
    return dsn, key


async def _put_pushed_fleet(service: Service, workspace_id: str) -> None:
    """Make a workspace whose devices are watched, and are collected by nobody."""
    await service.put_fleet(workspace_id, map(device_of, range(DEVICES)))
    pushed = {"provider_type": "push", "transport": "push", "credential": None, "active": True}
    await service.put(f"/workspaces/{workspace_id}/providers/{PROVIDER}", pushed)
    path = f"{PREFIX}/workspaces/{workspace_id}/policy"
    answer = await service.client.put(
        path, json={"grace_seconds": GRACE_SECONDS}, headers={"If-Match": "*"}
    )
    answer.raise_for_status()


@asynccontextmanager
async def _both(tree: Tree, full: str, empty: str, key: str) -> AsyncIterator[Sides]:
    """Run both services until the end of the block; yield them when they are at rest."""
    async with (
        open_service(tree, full, key) as over_history,
        open_service(tree, empty, key) as without,
    ):
        sides = Sides(over_history, without)
        for service in sides:
            await _wait_settled(service)
        yield sides


async def _wait_settled(service: Service) -> None:
    """Wait until the hours of the past are counted: a service does that once, after an upgrade."""
    with trio.move_on_after(SETTLE_SECONDS):
        while (await service.runtime())["rollups"]["behind"]:  # noqa: ASYNC110 - another process
            await trio.sleep(1)
        return
    raise NotVerified(f"history: hours are still being counted after {SETTLE_SECONDS:g} s")


async def _in_pairs(sides: Sides, pairs: int, ask: Ask) -> Taken:
    """Ask both sides in turn; the first pairs do not count."""
    taken: dict[Service, list[float]] = {service: [] for service in sides}
    for number in range(-_WARM_UP, pairs):
        for service in in_turn(number, *sides):
            seconds = await ask(service, number)
            if number >= 0:
                taken[service].append(seconds)
    return Taken(median(taken[sides.full]), median(taken[sides.empty]))


async def _ingest(service: Service, number: int) -> float:
    return await _post(service, _updates(number % WORKSPACES, _lively()))


async def _ask_health(service: Service, number: int) -> float:
    path = f"/workspaces/{_workspace(number % WORKSPACES)}/health?limit=100"
    answer, seconds = await _get(service, path)
    found = sum(answer["counts"].values()), len(answer["items"])
    if found != (DEVICES, 100):
        raise NotVerified(f"health: {found[0]} devices and {found[1]} items")
    return seconds


async def _ask_worklist(service: Service, number: int) -> float:
    answer, seconds = await _get(service, "/worklist?limit=100")
    if len(answer["items"]) != 100:
        raise NotVerified(f"health: the worklist has {len(answer['items'])} items instead of 100")
    return seconds


async def _ask_events(service: Service, number: int) -> float:
    workspace_id = _workspace(number % WORKSPACES)
    path = f"/workspaces/{workspace_id}/devices/{device_of(1)}/events?limit={PAGE}"
    answer, seconds = await _get(service, path)
    found = [event["sequence"] for event in answer["items"]]
    if found != list(range(found[0], found[0] - PAGE, -1)):
        raise NotVerified(f"sequences: a page of events has {found}")
    return seconds


async def _get(service: Service, path: str) -> tuple[Any, float]:
    began = time.perf_counter()
    answer = await service.client.get(PREFIX + path)
    seconds = time.perf_counter() - began
    answer.raise_for_status()
    return orjson.loads(answer.content), seconds


async def _post(service: Service, updates: Sequence[dict[str, Any]]) -> float:
    """Submit updates, all of them news. Returns the seconds until the answer.

    Raises NotVerified unless each was accepted.
    """
    began = time.perf_counter()
    body = {"updates": updates}
    answer = await service.post("/ingest", body)
    seconds = time.perf_counter() - began
    outcomes = [result["outcome"] for result in answer["results"]]
    if outcomes != ["accepted"] * len(updates):
        raise NotVerified(f"rows: {len(updates)} updates were answered with {set(outcomes)}")
    return seconds


async def _verify(full: str, empty: str, filled: int) -> None:
    """Check that both databases took the same, that nothing of the history is lost, and versions.

    Raises NotVerified.
    """
    ((events, versions, differing),) = await fetch(full, CHECK)
    ((wanted, wanted_versions, _),) = await fetch(empty, CHECK)
    faults = []
    if (events, versions) != (wanted + filled, wanted_versions + filled):
        faults.append(
            f"rows: {events:,} events and {versions:,} versions with the history of {filled:,}, "
            f"{wanted:,} and {wanted_versions:,} without it"
        )
    if differing or events != versions:
        faults.append(f"rows: {events:,} events, {versions:,} versions, {differing} snapshots off")
    require(faults)


async def _measure_drop(tree: Tree, dsn: str, key: str, service: Service) -> Figure:
    """Let a second shard drop what is older than KEPT_DAYS, while updates come in."""
    ((before,),) = await fetch(dsn, PARTITIONS)
    wanted = before - (DAYS - KEPT_DAYS)
    quiet = [await _ingest_small(service, number) for number in range(50)]
    taken: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_ingesting, service, taken)
        settings = {"shard_id": "second", "event_days": str(KEPT_DAYS)}
        began = time.monotonic()
        async with open_service(tree, dsn, key, **settings):
            left = await _wait_dropped(dsn, wanted)
        seconds = time.monotonic() - began
        nursery.cancel_scope.cancel()
    if left > wanted:
        raise NotVerified(f"rows: {left} partitions after the drop instead of {wanted}")
    seen = {
        "partitions dropped": before - left,
        "s in all": seconds,
        "requests meanwhile": len(taken),
        "p99 ms": 1000 * quantiles(taken, n=100, method="inclusive")[-1],
        "longest ms of 50 before": 1000 * max(quiet),
    }
    name = "B9 longest ingest request while partitions are dropped, seconds"
    return Figure(name, max(taken), LONGEST_SECONDS, at_most=True, seen=seen)


async def _wait_dropped(dsn: str, wanted: int) -> int:
    """Return the number of partitions when it has come down to `wanted`, or after DROP_SECONDS."""
    deadline = trio.current_time() + DROP_SECONDS
    while True:
        ((left,),) = await fetch(dsn, PARTITIONS)
        if left <= wanted or trio.current_time() > deadline:
            return int(left)
        await trio.sleep(0.5)


async def _keep_ingesting(service: Service, taken: list[float]) -> None:
    """Post small batches one after the other until cancelled; note the seconds of each."""
    number = 0
    while True:
        taken.append(await _ingest_small(service, number))
        number += 1


async def _ingest_small(service: Service, number: int) -> float:
    return await _post(service, _updates(number % WORKSPACES, range(1, SILENT_EVERY)))


def _workspace(number: int) -> str:
    return f"fleet-{number:02d}"


def _lively() -> list[int]:
    return [number for number in range(DEVICES) if number % SILENT_EVERY]


def _updates(workspace: int, devices: Iterable[int]) -> list[dict[str, Any]]:
    """Return one update of each of these devices, observed now."""
    return [_update(workspace, number) for number in devices]


def _update(workspace: int, device: int, age: timedelta = timedelta(0)) -> dict[str, Any]:
    observed_at = (datetime.now(UTC) - age).isoformat()
    return {
        "workspace_id": _workspace(workspace),
        "provider_id": PROVIDER,
        "device_id": device_of(device),
        "readings": [
            {"signal": signal, "value": 50.5, "observed_at": observed_at} for signal in SIGNALS
        ],
    }


async def _main(flags: argparse.Namespace) -> int:
    async with open_place() as place:
        figures = await measure_millions(place, flags.millions, pairs=flags.pairs)
    for figure in figures:
        print(figure, figure.seen)
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    configure_logging(level="error")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep_history", description=__doc__)
    parser.add_argument("--millions", type=float, default=5.0, help="of old events")
    parser.add_argument("--pairs", type=int, default=100, help="of requests of each kind")
    sys.exit(trio.run(_main, parser.parse_args()))
