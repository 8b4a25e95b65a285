"""`make bench-quick`: two first ratios, each the median of three rounds in one run, each verified.

Ratios, not speeds: machines differ and are noisy, a reference in the same run is not. The speeds are printed beside
them for orientation only.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import trio

from benchmarks import stream_frames, units
from benchmarks.feed import new_feed
from benchmarks.place import Place, open_place, run_sender
from runtime.clock import SystemClock
from runtime.logs import configure_logging
from storage.gateway import open_bridge

if TYPE_CHECKING:
    from collections.abc import Sequence


class Round(NamedTuple):
    """Items a second of both, in one round."""

    ours: float
    reference: float


def report(name: str, rounds: Sequence[Round], aim: float) -> None:
    ours, reference = median(each.ours for each in rounds), median(each.reference for each in rounds)
    ratio = median(each.ours / each.reference for each in rounds)
    print(f"{name}: {ratio:.2f} of the reference (aim {aim}); ours {ours:,.0f}/s, reference {reference:,.0f}/s")
    print("  rounds: " + ", ".join(f"{r.ours:,.0f} / {r.reference:,.0f} = {r.ours / r.reference:.2f}" for r in rounds))


async def bench_frames(place: Place, rounds: int, frames: int, vehicles: int) -> None:
    results = []
    for _ in range(rounds):
        feed = new_feed(vehicles, frames, SystemClock().wall())
        async with run_sender(feed) as port:
            reference = await stream_frames.measure_reference(feed, port)
            ours = await stream_frames.measure_ours(feed, port, await place.new_database())
        results.append(Round(ours, reference))
    report("stream frames, first frame to last commit", results, 0.5)


async def bench_units(place: Place, rounds: int, size: int, devices: int) -> None:
    load = units.new_load(size, devices)
    template = await units.prepare(place, devices)
    recorded = await units.record(load, await place.new_database(template))
    results = []
    for _ in range(rounds):
        for_reference, for_ours = await place.new_database(template), await place.new_database(template)
        reference = await trio.to_thread.run_sync(units.measure_reference, load, recorded, for_reference)
        results.append(Round(await units.measure_ours(load, for_ours), reference))
        await units.verify_same(for_ours, for_reference)
    report("updates, mailbox to commit", results, 0.7)


async def main(flags: argparse.Namespace) -> None:
    async with open_bridge(), open_place() as place:
        if flags.only != "units":
            await bench_frames(place, flags.rounds, flags.frames, flags.vehicles)
        if flags.only != "frames":
            await bench_units(place, flags.rounds, flags.units, flags.devices)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--only", choices=("frames", "units"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--vehicles", type=int, default=200)
    parser.add_argument("--units", type=int, default=60, help="of 1,000 updates each")
    parser.add_argument("--devices", type=int, default=4_000)
    arguments = parser.parse_args()
    configure_logging(level="error")
    trio.run(main, arguments)
