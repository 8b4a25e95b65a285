"""`make bench-live`: what open live pages cost the shard's process, and whether they stay true.

10,000 devices in 200 workspaces, each heard once a minute by SQL. The process of a shard that
collects nothing is measured for a while without pages, and then with 200 open ones. The difference
is what the pages cost. Before the figures are printed, every page is compared with the health
report. Ends with 1 when a figure misses its aim, and with 3 when a page is not true.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NamedTuple

import psutil
import trio

from benchmarks import cores, live_fleet
from benchmarks.live_readers import ReadPage, find_faults, sign_in
from benchmarks.place import fetch, open_place
from benchmarks.service import migrate_and_make_key, open_service
from benchmarks.trees import inspect, present_folder
from benchmarks.verification import NotVerified, require
from runtime.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.place import Place
    from benchmarks.service import Service

MOST_OF_A_CORE = 0.10
MOST_GROWTH = 0.05  # of the process's memory, from the first third of the time to the last
SETTLE_SECONDS = 20.0
QUIET_SECONDS = 12.0  # two ticks after the last change
TURNS = 12  # each device is heard once in so many turns
TURN_SECONDS = 5.0
OPENING_SECONDS = 4.0  # in which all pages are opened


class Cost(NamedTuple):
    """What a while cost: shares of a core of the process and of the database, and memory."""

    process: float
    database: float
    first_bytes: float
    last_bytes: float


class Told(NamedTuple):
    """What all pages were told so far."""

    changes: int
    bytes_read: int
    fetches: int


async def run(flags: argparse.Namespace) -> list[str]:
    """Print the figures; return those that miss their aim. Raises NotVerified."""
    tree = await inspect("the checkout", present_folder())
    async with open_place() as place:
        dsn = await place.new_database()
        key = await migrate_and_make_key(tree, dsn)
        await _fill(dsn, flags)
        async with open_service(tree, dsn, key, paused="true") as service:
            return await _run_pages(service, place, dsn, key, flags)


async def _run_pages(
    service: Service, place: Place, dsn: str, key: str, flags: argparse.Namespace
) -> list[str]:
    pages = [ReadPage(f"w{number % flags.workspaces}") for number in range(flags.pages)]
    cookie, port = await sign_in(service, key), service.client.base_url.port or 0
    async with trio.open_nursery() as reading:
        async with trio.open_nursery() as hearing:
            hearing.start_soon(_keep_hearing, dsn)
            await trio.sleep(SETTLE_SECONDS)
            without = await _measure(service, place, flags.seconds / 2)
            for page in pages:
                reading.start_soon(page.read, port, cookie)
                await trio.sleep(OPENING_SECONDS / len(pages))
            await trio.sleep(SETTLE_SECONDS)
            before = _told(pages)
            cost = await _measure(service, place, flags.seconds)
            told = Told(*(new - old for new, old in zip(_told(pages), before, strict=True)))
            hearing.cancel_scope.cancel()
        await trio.sleep(QUIET_SECONDS)
        require(await find_faults(service, pages))
        live = (await service.runtime())["live"]
        reading.cancel_scope.cancel()
    _print(flags, without, cost, told, live)
    return _judge(without, cost)


async def _fill(dsn: str, flags: argparse.Namespace) -> None:
    each = flags.devices // flags.workspaces
    await fetch(dsn, live_fleet.WORKSPACES, flags.workspaces)
    await fetch(dsn, live_fleet.CONNECTIONS, flags.workspaces)
    await fetch(dsn, live_fleet.DEVICES, flags.workspaces, each)
    for turn in range(TURNS - 1):  # a twelfth is never heard
        await fetch(dsn, live_fleet.HEAR, TURNS, turn)
    await fetch(dsn, "ANALYZE")


async def _keep_hearing(dsn: str) -> None:
    """Let the devices be heard in turn, until cancelled."""
    turn = 0
    while True:
        began = trio.current_time()
        await fetch(dsn, live_fleet.HEAR, TURNS, turn)
        turn = (turn + 1) % (TURNS - 1)
        await trio.sleep(max(0.0, TURN_SECONDS - (trio.current_time() - began)))


async def _measure(service: Service, place: Place, seconds: float) -> Cost:
    """Return what the next seconds cost."""
    memory: list[int] = []
    began = trio.current_time()
    process, database = cores.of_process(service.pid), place.core_seconds()
    while trio.current_time() - began < seconds:
        memory.append(psutil.Process(service.pid).memory_info().rss)
        await trio.sleep(1.0)
    took = trio.current_time() - began
    third = max(1, len(memory) // 3)
    return Cost(
        (cores.of_process(service.pid) - process) / took,
        (place.core_seconds() - database) / took,
        sum(memory[:third]) / third,
        sum(memory[-third:]) / third,
    )


def _told(pages: Sequence[ReadPage]) -> Told:
    return Told(
        sum(page.changes for page in pages),
        sum(page.bytes_read for page in pages),
        sum(page.fetches for page in pages),
    )


def _print(
    flags: argparse.Namespace, without: Cost, cost: Cost, told: Told, live: dict[str, object]
) -> None:
    print(
        f"{flags.pages} pages, {flags.devices:,} devices in {flags.workspaces} workspaces, each "
        f"heard once a minute, {flags.seconds:.0f} s"
    )
    print(
        f"  the process: {cost.process:.1%} of a core, {without.process:.1%} without pages: the "
        f"pages cost {cost.process - without.process:.1%}"
    )
    print(f"  the database: {cost.database:.1%} of a core, {without.database:.1%} without pages")
    print(f"  memory: {cost.first_bytes / 2**20:.0f} MiB, then {cost.last_bytes / 2**20:.0f} MiB")
    print(
        f"  told: {told.changes:,} differences, {told.bytes_read / 2**20:.1f} MiB, "
        f"{told.fetches} times to fetch a part anew"
    )
    print(f"  {live}")
    print("  every page says what the health report says")


def _judge(without: Cost, cost: Cost) -> list[str]:
    misses = []
    if cost.process - without.process > MOST_OF_A_CORE:
        misses.append(f"the pages cost more than {MOST_OF_A_CORE:.0%} of a core")
    if cost.last_bytes > cost.first_bytes * (1 + MOST_GROWTH):
        misses.append(f"memory grew by more than {MOST_GROWTH:.0%}")
    return misses


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_pages", description=__doc__)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--workspaces", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    flags = parser.parse_args(arguments)
    configure_logging(level="error")
    try:
        misses = trio.run(run, flags)
    except NotVerified as failure:
        print(failure, file=sys.stderr)
        return 3
    for miss in misses:
        print(miss, file=sys.stderr)
    return int(bool(misses))


if __name__ == "__main__":
    sys.exit(main())
