"""`make bench` and `make bench-quick`: every figure of docs/performance.md as a ratio to a
reference in the same run.

Each benchmark runs on a PostgreSQL server of its own, as durable as in production, with the
settings of the product's embedded server (a reference that needs PostgreSQL gets the same server).
It verifies its own work before it returns a figure. A benchmark that fails does not stop the
others. What was found is written to build/bench.json after each of them.

Ends with 0 when every figure keeps its bound, with 1 when one does not, with 3 when something was
not verified or failed, and with 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import trio

from benchmarks.place import open_place
from benchmarks.progress import TELL_EVERY_SECONDS, Progress
from benchmarks.record import (
    CannotBeMeasured,
    Outcome,
    exit_code,
    find_faults,
    load_entries,
    owner,
    place_of,
    save_entries,
)
from benchmarks.suite import SUITE
from benchmarks.trees import ROOT, CannotBeDriven
from benchmarks.verification import NotVerified
from benchmarks.workers import WorkerFailed
from runtime.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.suite import Benchmark

EXIT_INTERRUPTED: Final = 130
FILE: Final = ROOT / "build" / "bench.json"
# A benchmark has this long; one that hangs must not keep the others from running.
MAX_SECONDS: Final = 1800.0
MAX_QUICK_SECONDS: Final = 600.0
EXPLANATION: Final = """\
examples:
  make bench-quick                          the quick ones, in under four minutes
  make bench FLAGS="--only B2 --only B5"    two of them, at full size
  make bench-quick FLAGS="--only B4"        a small form of one that is not in bench-quick
  make bench FLAGS=--list                   what there is
  python -m benchmarks.table                build/bench.json as tables of Markdown

A figure is compared with the reference of the same run, so the machine hardly matters; still, run
nothing beside it. --only leaves the entries of the other benchmarks in build/bench.json; each entry
says when and from which commit it was measured.
"""


async def run(flags: argparse.Namespace) -> list[Outcome]:
    """Run the chosen benchmarks one after the other; print, record and return what they found."""
    chosen = choose(flags)
    entries = load_entries(flags.out) if flags.only else {}
    progress, outcomes = Progress(), []
    for number, (name, benchmark) in enumerate(chosen.items(), start=1):
        progress.tell(f"{name} ({number} of {len(chosen)}): {benchmark.title}")
        context, began = _describe_run(flags.quick), time.monotonic()
        outcome = await measure(name, benchmark, quick=flags.quick, progress=progress)
        outcomes.append(outcome)
        show(outcome)
        entries = {key: entry for key, entry in entries.items() if owner(key) != name}
        took = round(time.monotonic() - began, 1)
        entries |= outcome.entries(context | {"took_seconds": took})
        save_entries(flags.out, entries)
    progress.tell(f"done, written to {flags.out}")
    return outcomes


def choose(flags: argparse.Namespace) -> dict[str, Benchmark]:
    """Return the benchmarks to run: those that are named, else the quick ones, else all."""
    if flags.only:
        return {name: SUITE[name] for name in dict.fromkeys(flags.only)}
    named = (
        name for name in sorted(SUITE, key=place_of) if SUITE[name].is_quick or not flags.quick
    )
    return {name: SUITE[name] for name in named}


async def measure(name: str, benchmark: Benchmark, *, quick: bool, progress: Progress) -> Outcome:
    """Run one benchmark on a server of its own. Returns what went wrong instead of raising it.

    Cancelling (Ctrl-C) passes through. A benchmark that does not end is cancelled after its time.
    """
    seconds = MAX_QUICK_SECONDS if quick else MAX_SECONDS
    try:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_tell_time, name, progress)
                async with open_place() as place:
                    await place.check_durable()
                    figures = await benchmark.measure(place, quick)
                nursery.cancel_scope.cancel()
            faults = find_faults(name, figures)
            return Outcome(name, faults=faults) if faults else Outcome(name, figures)
    except Exception as error:
        return _to_outcome(name, error)
    return Outcome(name, faults=(f"not ended within {seconds:g} s",))


async def _tell_time(name: str, progress: Progress) -> None:
    """Tell now and then that the benchmark still runs, until cancelled."""
    began = time.monotonic()
    while True:
        await trio.sleep(TELL_EVERY_SECONDS)
        progress.count(f"{name} has been running for {time.monotonic() - began:.0f} s")


def _to_outcome(name: str, error: Exception) -> Outcome:
    """Return what an error means; one that the benchmarks do not name is shown with its place."""
    leaves = list(leaves_of(error))
    for leaf in leaves:
        if isinstance(leaf, CannotBeMeasured) and not _is_required():
            return Outcome(name, skipped=str(leaf))
    faults: list[str] = []
    for leaf in leaves:
        if isinstance(leaf, NotVerified):
            faults += leaf.faults
        elif isinstance(leaf, CannotBeDriven | CannotBeMeasured | WorkerFailed):
            faults.append(f"failed: {leaf}")
        else:
            sys.excepthook(type(leaf), leaf, leaf.__traceback__)
            faults.append(f"failed: {type(leaf).__name__}: {leaf}")
    return Outcome(name, faults=faults)


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of which a group is made, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves_of(each)
    else:
        yield error


def _is_required() -> bool:
    """Return whether nothing may be skipped, as on the machine that judges (tests/debian.py)."""
    return os.environ.get("LASTHEARD_NO_SKIP") == "1"


def show(outcome: Outcome) -> None:
    """Print the figures, or say on stderr why there are none."""
    for figure in outcome.figures:
        print(figure, flush=True)
        if figure.seen:
            print(f"  {_list(figure.seen)}", flush=True)
    for fault in outcome.faults:
        print(f"{outcome.id} NOT VERIFIED {fault}", file=sys.stderr, flush=True)
    if outcome.skipped is not None:
        print(f"{outcome.id} SKIPPED {outcome.skipped}", file=sys.stderr, flush=True)


def _list(seen: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in seen.items())


def _describe_run(quick: bool) -> dict[str, Any]:
    """Return what an entry says about the moment, the machine and the code."""
    gigabytes = psutil.virtual_memory().total / 2**30
    machine = (
        f"{os.cpu_count()} cores, {gigabytes:.0f} GB, {platform.system()} {platform.machine()}"
    )
    return {
        "quick": quick,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "load_average": os.getloadavg()[0],
        "commit": _commit(),
    }


def _commit() -> str:
    """Return the commit of the checkout, with "+" if files differ from it; "" without git."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def list_suite() -> str:
    """Return a line for each benchmark, and a heading."""
    lines = (
        f"{name:4} {'quick' if SUITE[name].is_quick else '':5}  {SUITE[name].title}"
        for name in in_order()
    )
    return "\n".join([f"{'id':4} quick  what is measured", *lines])


def in_order() -> list[str]:
    """Return the ids by their numbers."""
    return sorted(SUITE, key=place_of)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code."""
    flags = parse(arguments)
    if flags.list:
        print(list_suite())
        return 0
    # Servers and services must end with the run, also if it is ended from outside. A shell lets
    # commands in the background ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        return exit_code(trio.run(run, flags))
    except (KeyboardInterrupt, BaseExceptionGroup) as stop:
        if not any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves_of(stop)):
            raise
        print(f"stopped; what was found before is in {flags.out}", file=sys.stderr)
        return EXIT_INTERRUPTED


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, and only what is marked quick in --list"
    )
    parser.add_argument(
        "--only", action="append", choices=SUITE, metavar="ID", help="B1 to B11; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="print what there is, and end")
    parser.add_argument("--out", type=Path, default=FILE, help=f"instead of {FILE}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    configure_logging(level="error")
    sys.exit(main())
