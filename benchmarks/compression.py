"""What gzip costs and saves: the report of 500 devices, with it and without it, from one service.

`python -m benchmarks.compression`. Each side is asked in blocks, in turn. Prints the bytes of an
answer, the median milliseconds at a client on this machine, which saves nothing on the way, and the
core time of the service for an answer. Has no aim, so it always ends with 0.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

import trio

from benchmarks import cores, health
from benchmarks.place import open_place
from benchmarks.rounds import in_turn
from benchmarks.service import Sizes, open_service, prepare
from benchmarks.trees import inspect, present_folder
from runtime.logs import configure_logging

if TYPE_CHECKING:
    from benchmarks.service import Service

SIDES = ("gzip", "identity")


class Side:
    """The figures of one way to ask."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self.core_milliseconds: list[float] = []
        self.answer_bytes = 0


async def run(flags: argparse.Namespace) -> None:
    async with open_place() as place:
        tree = await inspect("the present tree", present_folder())
        template = await prepare(tree, place, Sizes(1, 1, health.DEVICES))
        dsn = await place.new_database(template.database)
        async with open_service(template.tree, dsn, template.key) as service:
            await health.report_all(service)
            sides = {side: Side() for side in SIDES}
            for number in range(flags.rounds + 1):
                for name in in_turn(number, *SIDES):
                    # The first round warms up.
                    found = sides[name] if number else Side()
                    await _ask(service, name, flags.requests, found)
        await place.drop_database(dsn)
    for name, side in sides.items():
        print(
            f"{name:9} {side.answer_bytes:8,} bytes, {median(side.milliseconds):5.1f} ms at the "
            f"client, {median(side.core_milliseconds):5.1f} ms of the service's cores"
        )


async def _ask(service: Service, accepted: str, requests: int, side: Side) -> None:
    before = cores.of_process(service.pid)
    for _ in range(requests):
        began = time.perf_counter()
        headers = {"Accept-Encoding": accepted}
        async with service.client.stream("GET", health.PATH, headers=headers) as answer:
            raw = [piece async for piece in answer.aiter_raw()]
        side.milliseconds.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
        side.answer_bytes = sum(map(len, raw))
    side.core_milliseconds.append(1000 * (cores.of_process(service.pid) - before) / requests)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=40, help="in each round, of each side")
    trio.run(run, parser.parse_args())


if __name__ == "__main__":
    configure_logging(level="error")
    main()
