"""`make bench-quick`: frames, updates and health as ratios to references in the same run, verified
before they count.

Ends with 0 when every figure meets its aim (benchmarks/aims.py), with 1 when one does not, and with
3 when the work that was timed was not done right; then its figure is not printed. The side that
goes first alternates from round to round.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import trio

from benchmarks import aims, frames, health, updates
from benchmarks.feed import new_feed
from benchmarks.load import MIN_UPDATES_PER_DEVICE
from benchmarks.place import Place, open_place
from benchmarks.rounds import Round, in_turn, ratios
from benchmarks.service import Sizes, Template, prepare
from benchmarks.trees import CannotBeDriven, inspect, present_folder
from benchmarks.verification import NotVerified
from benchmarks.workers import WorkerFailed
from runtime.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from benchmarks.rounds import Cost

    Measure = Callable[[], Awaitable[Cost]]

EXIT_BELOW_AIM = 1
EXIT_NOT_VERIFIED = 3
PARTS = ("updates", "frames", "health")


async def bench_frames(template: Template, place: Place, flags: argparse.Namespace) -> list[str]:
    feed = new_feed(flags.vehicles, flags.frames, datetime.now(UTC))
    rounds = await _alternate(
        flags.rounds,
        partial(frames.measure_ours, template, place, feed, flags.window),
        partial(frames.measure_reference, template.tree, feed),
    )
    misses = report(
        "stream frames, first frame to last commit", rounds, aims.FRAMES, aims.FRAMES_CORES
    )
    if flags.vehicles > aims.MOST_VEHICLES:
        print(f"  not judged: the aims are for up to {aims.MOST_VEHICLES} vehicles")
        return []
    return misses


async def bench_updates(template: Template, place: Place, flags: argparse.Namespace) -> list[str]:
    task = updates.new_task(flags.updates, flags.devices)
    rounds = await _alternate(
        flags.rounds,
        partial(updates.measure_ours, template, place, task),
        partial(updates.measure_reference, template.tree, place, task),
    )
    return report("updates, mailbox to commit", rounds, aims.UPDATES, aims.UPDATES_CORES)


async def _alternate(rounds: int, ours: Measure, reference: Measure) -> list[Round]:
    """Measure both sides once in each round; in every second round the reference goes second."""
    found = []
    for number in range(rounds):
        costs = {}
        for side, measure in in_turn(number, ("reference", reference), ("ours", ours)):
            costs[side] = await measure()
        found.append(Round(**costs))
    return found


async def bench_health(template: Template, place: Place, flags: argparse.Namespace) -> list[str]:
    rounds = await health.measure(template, place, flags.rounds, flags.requests)
    ours, reference = [each.ours for each in rounds], [each.reference for each in rounds]
    ratio = ratios(ours, reference)
    print(
        f"health of {health.DEVICES} devices under ingest, p95 at the client: {median(ours):.0f} "
        "ms "
        f"(aim {aims.HEALTH_MS}), {ratio.median:.1f} of the reference (aim {aims.HEALTH})"
    )
    print(
        "  rounds: "
        + ", ".join(
            f"{r.ours:.1f} / {r.reference:.1f} ms = {r.ours / r.reference:.1f}" for r in rounds
        )
    )
    return _misses((aims.HEALTH_MS, median(ours)), (aims.HEALTH, ratio.median))


def report(name: str, rounds: Sequence[Round], rate: aims.Aim, cores: aims.Aim) -> list[str]:
    """Print both sides' rates and core times, and their ratios; return what misses its aim."""
    ours, reference = [each.ours for each in rounds], [each.reference for each in rounds]
    rates = ratios([cost.rate for cost in ours], [cost.rate for cost in reference])
    costs = ratios([cost.cores_us for cost in ours], [cost.cores_us for cost in reference])
    print(f"{name}: {rates.median:.2f} of the reference's rate (aim {rate})")
    print(f"  ours / reference a second: {_list((r.ours.rate, r.reference.rate) for r in rounds)}")
    print(f"  core time: {costs.median:.2f} times the reference's (aim {cores})")
    print(
        "  ours / reference in µs: "
        f"{_list((r.ours.cores_us, r.reference.cores_us) for r in rounds)}"
    )
    return _misses((rate, rates.median), (cores, costs.median))


def _list(pairs: Iterable[tuple[float, float]]) -> str:
    return ", ".join(
        f"{ours:,.0f} / {reference:,.0f} = {ours / reference:.2f}" for ours, reference in pairs
    )


def _misses(*judged: tuple[aims.Aim, float]) -> list[str]:
    return [miss for aim, found in judged if (miss := aim.miss(found)) is not None]


BENCHES = {"updates": bench_updates, "frames": bench_frames, "health": bench_health}


async def run(flags: argparse.Namespace) -> list[str]:
    """Measure, verify and print; return what misses its aim. Raises NotVerified."""
    misses: list[str] = []
    async with open_place() as place:
        await place.check_durable()
        tree = await inspect("the present tree", present_folder())
        template = await prepare(tree, place, Sizes(flags.vehicles, flags.devices, health.DEVICES))
        for part in flags.only or PARTS:
            misses += await BENCHES[part](template, place, flags)
    return misses


def main(flags: argparse.Namespace) -> int:
    """Run the benchmarks; return the exit code."""
    try:
        misses = trio.run(run, flags)
    except NotVerified as error:
        for fault in error.faults:
            print(f"NOT VERIFIED {fault}", file=sys.stderr)
        return EXIT_NOT_VERIFIED
    except (CannotBeDriven, WorkerFailed) as error:
        print(f"FAILED {error}", file=sys.stderr)
        return EXIT_NOT_VERIFIED
    for miss in misses:
        print(miss, file=sys.stderr)
    return EXIT_BELOW_AIM if misses else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--vehicles", type=int, default=200)
    parser.add_argument(
        "--window", type=float, default=1.0, help="seconds, as LASTHEARD_STREAM_WINDOW_SECONDS"
    )
    parser.add_argument("--updates", type=int, default=60_000)
    parser.add_argument("--devices", type=int, default=4_000, help="of the updates")
    parser.add_argument(
        "--requests", type=int, default=50, help="for health, in each round and of each side"
    )
    flags = parser.parse_args()
    if flags.updates < MIN_UPDATES_PER_DEVICE * flags.devices:
        parser.error(
            f"--updates must be at least {MIN_UPDATES_PER_DEVICE} times --devices, or sequences "
            "prove nothing"
        )
    return flags


if __name__ == "__main__":
    configure_logging(level="error")
    sys.exit(main(parse()))
