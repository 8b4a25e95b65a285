"""`make bench-mutants`: faults put into copies of the product, each of which must turn `make
bench-quick` red.

This shows that the benchmark can fail. Each mutant is one edit of one file in a temporary copy; the
benchmark runs with that copy first on its path. It must end non-zero and say why in the expected
words; with an unedited copy it must end with 0. An edit whose place is not found exactly once fails
too: the code has moved, so move the mutant.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import trio

from benchmarks.edits import Edit
from benchmarks.record import EXIT_BELOW_MUST, EXIT_NOT_VERIFIED
from benchmarks.trees import Tree, copied

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECONDS = 420.0  # for one run; a quiet machine needs far less
UPDATES = ("B2",)
FRAMES = ("B1",)
ALL = ("B1", "B2", "B5")


class Mutant(NamedTuple):
    """One fault: `pattern` (with (?s) and (?m)) is replaced in `file`.

    The run must end with `code` and say `reason`.
    """

    name: str
    file: str
    pattern: str
    replacement: str
    parts: Sequence[str]
    code: int
    reason: str

    def apply(self, folder: Path) -> None:
        """Edit the file below `folder`. Raises benchmarks.edits.DoesNotApply."""
        Edit(self.file, self.pattern, self.replacement).apply(folder, self.name)


# Anchored on named SQL blocks, columns, settings and one counter, because these seldom move.
_IN_FENCE = r"(^-- name: fence\n(?:(?!^-- name:).)*?)"

MUTANTS = (
    Mutant(
        "sequence always 1",
        "storage/unit/writes.py",
        r"sequence=\[event\.sequence for",
        "sequence=[1 for",
        UPDATES,
        EXIT_NOT_VERIFIED,
        "NOT VERIFIED sequences:",
    ),
    Mutant(
        "empty readings in events",
        "storage/unit/writes.py",
        r"signals=signals,",
        'signals=["{}"] * len(accepted),',
        UPDATES,
        EXIT_NOT_VERIFIED,
        "NOT VERIFIED readings:",
    ),
    Mutant(
        "no fence",
        "storage/sql/ingest.sql",
        _IN_FENCE + r"WHERE s\.state = 'live'",
        r"\g<1>",
        UPDATES,
        EXIT_NOT_VERIFIED,
        "NOT VERIFIED fence:",
    ),
    Mutant(
        "fsync off at the server",
        "storage/embedded/commands.py",
        r'^(    "listen_addresses": "",\n)',
        r'\g<1>    "fsync": "off",\n',
        UPDATES,
        EXIT_NOT_VERIFIED,
        "NOT VERIFIED fsync: fsync is off",
    ),
    Mutant(
        "commits that do not wait for the disk",
        "storage/sql/ingest.sql",
        _IN_FENCE + r"SELECT clock_timestamp\(\)",
        r"\g<1>SELECT clock_timestamp(), set_config('synchronous_commit', 'off', false)",
        UPDATES,
        EXIT_NOT_VERIFIED,
        "NOT VERIFIED fsync: synchronous_commit is off",
    ),
    Mutant(
        "nine of ten early frames dropped",
        "actors/intake.py",
        r"if (self\.buffer\.merge\()",
        r"if (self.received < 20_000 and self.received % 10) or \g<1>",
        FRAMES,
        EXIT_NOT_VERIFIED,
        "NOT VERIFIED history:",
    ),
    Mutant(
        "200 ms of sleep a unit",
        "storage/sql/ingest.sql",
        _IN_FENCE + r"SELECT clock_timestamp\(\)",
        r"\g<1>SELECT clock_timestamp(), pg_sleep(0.2)",
        UPDATES,
        EXIT_BELOW_MUST,
        "MISSED",
    ),
)


async def judge(
    name: str, mutant: Mutant | None, parts: Sequence[str], code: int, reason: str
) -> bool:
    """Run the benchmark on a copy, edited or not; print and return whether it ended as expected."""
    began = time.monotonic()
    flags = [word for part in parts for word in ("--only", part)]
    with copied() as folder:
        if mutant is not None:
            mutant.apply(folder)
        tree = Tree(name, folder)
        with trio.move_on_after(SECONDS) as budget:
            done = await trio.run_process(
                tree.command("benchmarks.run", "--quick", *flags, "--out", folder / "bench.json"),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=tree.environment(),
            )
    seconds = time.monotonic() - began
    if budget.cancelled_caught:
        print(f"{name}: WRONG, not ended within {SECONDS:g} s", flush=True)
        return False
    said = (done.stdout + done.stderr).decode(errors="replace")
    right = done.returncode == code and reason in said
    line = next((line for line in said.splitlines() if reason and reason in line), "")
    print(
        f"{name}: {'as it must' if right else 'WRONG'}, exit {done.returncode}, {seconds:.0f} s "
        f"{line}",
        flush=True,
    )
    if not right:
        print(f"  expected exit {code} and the words {reason!r}; it said:\n{said}", flush=True)
    return right


async def main(names: Sequence[str]) -> int:
    """Run the named mutants, or all; return the exit code, 0 when every run ended as expected."""
    chosen = [each for each in MUTANTS if not names or any(name in each.name for name in names)]
    right = [await judge(each.name, each, each.parts, each.code, each.reason) for each in chosen]
    if not names:
        right.append(await judge("no fault", None, ALL, 0, ""))
    return 0 if right and all(right) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument(
        "name", nargs="*", help="only mutants with one of these words in their names"
    )
    sys.exit(trio.run(main, parser.parse_args().name))
