"""`make bench-compare BASE=<commit>`: the cost of a change, in core time, against another commit.

Both trees run in turn (A B, B A, …) as processes on one server: A has the product of BASE, in a git
worktree; B is the present tree. The present code drives and verifies both. The ratio B / A is taken
within each pair, since other work on the machine hits both. The median of the pairs is the answer;
the lowest and highest ratio say how far to trust it. BASE=HEAD in a clean checkout compares the
same code: it shows the noise, and a difference within the noise means nothing.

It compares core time because rates quantise: the same code gives 27.1 or 30.1 thousand updates a
second, and nothing between.

Ends with 0; with 3 when a tree was not verified or cannot be driven; and with 1 when --worse-than
is given and some median is worse by more than that many percent.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import trio

from benchmarks import frames, health, updates
from benchmarks.feed import new_feed
from benchmarks.load import MIN_UPDATES_PER_DEVICE
from benchmarks.place import open_place
from benchmarks.record import EXIT_BELOW_MUST, EXIT_NOT_VERIFIED
from benchmarks.rounds import in_turn, ratios
from benchmarks.service import Sizes, Template, prepare
from benchmarks.trees import (
    CannotBeDriven,
    checked_out,
    describe_commit,
    inspect,
    is_same_product,
    present_folder,
)
from benchmarks.verification import NotVerified
from benchmarks.workers import WorkerFailed
from runtime.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from benchmarks.place import Place

BASE, PRESENT = "A (base)", "B (present)"
MIN_PAIRS = 8


class Figures(NamedTuple):
    """The figures of one run of one tree. In each of them less is better."""

    update_own_us: float
    update_database_us: float
    update_us: float
    frame_own_us: float
    frame_database_us: float
    frame_us: float
    health_p95_ms: float


NAMES = (
    "core time an update, ours (µs)",
    "core time an update, PostgreSQL (µs)",
    "core time an update, both (µs)",
    "core time a frame, ours (µs)",
    "core time a frame, PostgreSQL (µs)",
    "core time a frame, both (µs)",
    "health p95 at the client (ms)",
)


async def run_tree(
    template: Template, place: Place, task: updates.Task, flags: argparse.Namespace
) -> Figures:
    """Run all three benchmarks of one tree once. Raises NotVerified."""
    feed = new_feed(flags.vehicles, flags.frames, datetime.now(UTC))
    update = await updates.measure_ours(template, place, task)
    frame = await frames.measure_ours(template, place, feed, flags.window)
    (asked,) = await health.measure(template, place, 1, flags.requests, reference=False)
    return Figures(
        update.own_us,
        update.database_us,
        update.own_us + update.database_us,
        frame.own_us,
        frame.database_us,
        frame.own_us + frame.database_us,
        asked.ours,
    )


async def run_pairs(
    place: Place, folders: dict[str, Path], flags: argparse.Namespace
) -> dict[str, list[Figures]]:
    """Return the figures of each tree, pair by pair.

    Raises CannotBeDriven and NotVerified, which name the tree.
    """
    sizes = Sizes(flags.vehicles, flags.devices, health.DEVICES)
    task = updates.new_task(flags.updates, flags.devices)
    templates = {}
    for name, folder in folders.items():
        templates[name] = await prepare(await inspect(name, folder), place, sizes)
    found: dict[str, list[Figures]] = {name: [] for name in folders}
    for number in range(flags.pairs):
        for name in in_turn(number, BASE, PRESENT):
            found[name].append(
                await _run_named(name, partial(run_tree, templates[name], place, task, flags))
            )
        show_progress(number, found)
    return found


async def _run_named(name: str, run: Callable[[], Awaitable[Figures]]) -> Figures:
    try:
        return await run()
    except NotVerified as error:
        raise NotVerified(*(f"{fault} [{name}]" for fault in error.faults)) from error
    except WorkerFailed as error:
        raise CannotBeDriven(f"{name} cannot be driven, or failed: {error}") from error


def show_progress(number: int, found: dict[str, list[Figures]]) -> None:
    pairs = zip(found[BASE][-1], found[PRESENT][-1], strict=True)
    print(
        f"pair {number + 1}: " + ", ".join(f"{a:.1f} / {b:.1f}" for a, b in pairs),
        file=sys.stderr,
        flush=True,
    )


def report(base: Sequence[Figures], present: Sequence[Figures]) -> dict[str, float]:
    """Print medians and the ratios of the pairs; return the median ratio of each figure."""
    print(f"{'':40} {'A':>9} {'B':>9}   B / A: median (lowest to highest) of {len(base)} pairs")
    found = {}
    for name, ours, theirs in zip(
        NAMES, zip(*present, strict=True), zip(*base, strict=True), strict=True
    ):
        ratio = ratios(ours, theirs)
        found[name] = ratio.median
        print(f"{name:40} {median(theirs):9.1f} {median(ours):9.1f}   {ratio}")
    return found


def find_worse(medians: dict[str, float], percent: float | None) -> list[str]:
    """Return a sentence for each figure that got worse by more than `percent`; none without it."""
    if percent is None:
        return []
    return [
        f"worse: {name} by {100 * (ratio - 1):.1f}%, allowed {percent:g}%"
        for name, ratio in medians.items()
        if ratio > 1 + percent / 100
    ]


async def run(flags: argparse.Namespace) -> list[str]:
    """Measure both trees and print the figures; return those that are worse than allowed."""
    async with checked_out(flags.base) as base, open_place() as place:
        await place.check_durable()
        print(f"A: {await describe_commit(flags.base)}\nB: the present tree")
        if await is_same_product(flags.base):
            print(
                "The product is the same in both: this is an A/A comparison, and what it shows is "
                "noise."
            )
        found = await run_pairs(place, {BASE: base, PRESENT: present_folder()}, flags)
    return find_worse(report(found[BASE], found[PRESENT]), flags.worse_than)


def main(flags: argparse.Namespace) -> int:
    """Run the comparison; return the exit code."""
    try:
        worse = trio.run(run, flags)
    except NotVerified as error:
        for fault in error.faults:
            print(f"NOT VERIFIED {fault}", file=sys.stderr)
        return EXIT_NOT_VERIFIED
    except (CannotBeDriven, WorkerFailed) as error:
        print(f"FAILED {error}", file=sys.stderr)
        return EXIT_NOT_VERIFIED
    for line in worse:
        print(line, file=sys.stderr)
    return EXIT_BELOW_MUST if worse else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--base", required=True, help="a commit")
    parser.add_argument(
        "--pairs",
        type=int,
        default=MIN_PAIRS,
        help=f"{MIN_PAIRS} or more give a result; fewer only try it",
    )
    parser.add_argument(
        "--worse-than",
        type=float,
        metavar="PERCENT",
        help="end with 1 when a median is worse by more",
    )
    parser.add_argument("--frames", type=int, default=80_000)
    parser.add_argument("--vehicles", type=int, default=200)
    parser.add_argument("--window", type=float, default=1.0)
    parser.add_argument("--updates", type=int, default=30_000)
    parser.add_argument("--devices", type=int, default=4_000)
    parser.add_argument("--requests", type=int, default=60)
    flags = parser.parse_args()
    if flags.updates < MIN_UPDATES_PER_DEVICE * flags.devices:
        parser.error(f"--updates must be at least {MIN_UPDATES_PER_DEVICE} times --devices")
    return flags


if __name__ == "__main__":
    configure_logging(level="error")
    sys.exit(main(parse()))
