"""Health, issues and worklist of a fleet: first page and counts, against a route with `SELECT 1`.

Both are asked in turn, over HTTP, by one client or by eight at once; the reference is an operation
more in the same process (benchmarks/select_service.py). A figure is the worst of the three lists:
its median latency by that of the reference. Counts are asked exactly, and at most 5 s old. Idle,
and under the fleet's load: each device reports once in 300 s, over `/ingest`. Before it is timed,
each list is verified, and exact counts are compared with an independent computation.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import trio

from benchmarks.figure import Figure
from benchmarks.health_fleet import (
    PERIOD_SECONDS,
    check_first_page,
    check_issues,
    count_independently,
    store_fleet,
)
from benchmarks.ingest_bodies import make_batch
from benchmarks.names import HEALTH
from benchmarks.plain_http import PlainClient
from benchmarks.select_service import PATH as SELECT
from benchmarks.service import PREFIX, migrate_and_make_key, open_service
from benchmarks.trees import inspect, present_folder
from benchmarks.verification import require

if TYPE_CHECKING:
    from benchmarks.place import Place
    from benchmarks.service import Service

MUST_AGED, MUST_EXACT = 4.0, 15.0
NFR_005_MS = 1000.0  # of 10,000 devices
LIMIT = 100  # of a page, as unless it is given
LISTS = {
    "health": f"{PREFIX}/workspaces/{HEALTH}/health",
    "issues": f"{PREFIX}/workspaces/{HEALTH}/issues",
    "worklist": f"{PREFIX}/worklist",
}
AGES = {"aged": 5, "exact": 0}
REFERENCE = PREFIX + SELECT
BATCH = 50


class Size(NamedTuple):
    devices: int
    rounds: int  # of each client


class Times(NamedTuple):
    """Milliseconds of each request, by path."""

    taken: dict[str, list[float]]

    def ratio(self, path: str) -> float:
        return median(self.taken[path]) / median(self.taken[REFERENCE])

    def p95(self, path: str) -> float:
        return quantiles(self.taken[path], n=20, method="inclusive")[-1]


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Measure fleets of 1,000, 10,000 and 100,000 devices; quick: 10,000. Raises NotVerified."""
    sizes = [Size(10_000, 8)] if quick else [Size(1_000, 20), Size(10_000, 20), Size(100_000, 20)]
    tree = await inspect("the present tree", present_folder())
    found: list[Figure] = []
    for size in sizes:
        dsn = await place.new_database()
        key = await migrate_and_make_key(tree, dsn)
        await store_fleet(dsn, size.devices)
        async with open_service(tree, dsn, key, module="benchmarks.select_service") as service:
            await _verify(service, dsn, size)
            for load in ("under load",) if quick else ("idle", "under load"):
                async with trio.open_nursery() as nursery:
                    if load != "idle":
                        nursery.start_soon(_report, service, size.devices)
                    for clients in (1, 8):
                        times = await _ask_in_turn(service, key, clients, size.rounds)
                        found += _judge(
                            f"{size.devices:,} devices, {clients} clients, {load}", times
                        )
                    nursery.cancel_scope.cancel()
        await place.drop_database(dsn)
    return found


def path_of(name: str, age: str) -> str:
    return f"{LISTS[name]}?counts_max_age={AGES[age]}"


def _judge(where: str, times: Times) -> list[Figure]:
    figures = []
    for age, must in (("aged", MUST_AGED), ("exact", MUST_EXACT)):
        ratios = {name: times.ratio(path_of(name, age)) for name in LISTS}
        seen = {f"{name}, ratio": ratio for name, ratio in ratios.items()}
        seen |= {f"{name}, ms": median(times.taken[path_of(name, age)]) for name in LISTS}
        seen["SELECT 1, ms"] = median(times.taken[REFERENCE])
        worst = max(ratios.values())
        figures.append(Figure(f"B5 {age} counts, {where}", worst, must, at_most=True, seen=seen))
    slowest = max(times.p95(path_of(name, age)) for name in LISTS for age in AGES)
    return [*figures, Figure(f"B5 p95 in ms, {where}", slowest, NFR_005_MS, at_most=True)]


async def _verify(service: Service, dsn: str, size: Size) -> None:
    """Raise NotVerified unless the lists are right; counts are compared while nothing reports."""
    for name in LISTS:
        answer = await _get(service, path_of(name, "exact"))
        counted = await count_independently(dsn, datetime.fromisoformat(answer["counted_at"]))
        counts = {state: count for state, count in answer["counts"].items() if count}
        faults = [] if counts == counted else [f"{name} counts {counts}; there are {counted}"]
        aged = await _get(service, path_of(name, "aged"))
        for each in (answer, aged):
            faults += (
                check_first_page(each, size.devices, LIMIT)
                if name == "health"
                else check_issues(each, LIMIT)
            )
        age = _instant(aged["evaluated_at"]) - _instant(aged["counted_at"])
        if not 0 <= age.total_seconds() <= AGES["aged"]:
            faults.append(f"{name} has counts that are {age} old")
        require(faults)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _get(service: Service, path: str) -> dict[str, Any]:
    answer = await service.client.get(path)
    answer.raise_for_status()
    found: dict[str, Any] = orjson.loads(answer.content)
    return found


async def _ask_in_turn(service: Service, key: str, clients: int, rounds: int) -> Times:
    """Let all clients ask at once for the reference and for a list, in turn, `rounds` times."""
    times = Times(defaultdict(list))
    paths = [path_of(name, age) for age in AGES for name in LISTS]

    async def ask(client: PlainClient, path: str, *, counts: bool) -> None:
        began = time.perf_counter()
        await client.get(path)
        if counts:
            times.taken[path].append(1000 * (time.perf_counter() - began))

    async with AsyncExitStack() as stack:
        made = [PlainClient(service.port, key) for _ in range(clients)]
        opened = [await stack.enter_async_context(client) for client in made]
        for number in range(rounds + 1):  # the first is to warm up
            for path in (each for wanted in paths for each in (REFERENCE, wanted)):
                async with trio.open_nursery() as nursery:
                    for client in opened:
                        nursery.start_soon(partial(ask, client, path, counts=number > 0))
    return times


async def _report(service: Service, devices: int) -> None:
    """Let the devices that were heard lately report, each once in 300 s, until cancelled."""
    names = [f"bus-{n:06d}" for n in range(devices) if n % 100 > 5 and n % 50 != 1]
    start, began, sent = 0, trio.current_time(), 0
    while True:
        part = (names + names)[start : start + BATCH]
        await service.post("/ingest", make_batch(HEALTH, part))
        start, sent = (start + BATCH) % len(names), sent + BATCH
        await trio.sleep_until(began + sent * PERIOD_SECONDS / len(names))
