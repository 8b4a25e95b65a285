"""`make verdicts`: who is blamed for what, against simulated accounts with every fault.

Runs the real service for ten minutes against 200 vehicles whose true story is known, and a few of a
client that sends over /ingest. Samples every verdict, and prints a table of causes and of the sides
that were named. Tells on stderr how far it is. Ends with 1 when a bound does not hold, and with 130
on Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import trio

from benchmarks.confusion import show
from benchmarks.verdict_acts import Plan
from benchmarks.verdict_run import run
from runtime.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
SHORT = Plan(seconds=100.0, devices=184, pace=4.0, has_backlog=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--short", action="store_true", help="100 s, and a fast pace")
    parser.add_argument("--seconds", type=float, help="how long verdicts are sampled")
    parser.add_argument("--devices", type=int, help="vehicles in all, 184 at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", default="", help="faults to leave out, joined by '+'")
    parser.add_argument("--save", help="a file for the samples and the true story")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    flags = _parser().parse_args(arguments)
    configure_logging(level="error")
    plan = SHORT if flags.short else Plan()
    plan = plan._replace(
        seconds=flags.seconds or plan.seconds,
        devices=flags.devices or plan.devices,
        seed=flags.seed,
        save=flags.save,
        without=flags.without,
    )
    try:
        result = trio.run(run, plan)
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        print("interrupted: nothing was judged", file=sys.stderr)
        return INTERRUPTED
    print(show(result.finding))
    for line in result.counts:
        print(line)
    misses = [*result.finding.misses, *result.uncounted]
    for miss in misses:
        print(f"MISSED: {miss}")
    print("every bound holds" if not misses else f"{len(misses)} bounds do not hold")
    return 1 if misses else 0


def _is_interrupt(error: BaseException) -> bool:
    """Return whether this is Ctrl-C, perhaps beside what it made fail elsewhere."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


if __name__ == "__main__":
    sys.exit(main())
