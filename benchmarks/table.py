"""`python -m benchmarks.table [build/bench.json]`: the figures of a run as a table of Markdown.

Prints ratios first, then what they were made from, the machine and the date, so that
docs/performance.md is pasted and not typed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import load_entries, owner
from benchmarks.run import FILE

if TYPE_CHECKING:
    from benchmarks.record import Entries

# What an entry has beside the values from which its figure was made.
_FORM = frozenset(
    (
        *("ratio", "must", "bound", "met", "verified", "figure", "faults", "skipped"),
        *("quick", "at", "machine", "load_average", "commit", "took_seconds"),
    )
)


def as_markdown(entries: Entries) -> str:
    """Return both tables: the figures, and when and where each benchmark ran."""
    return "\n".join([*_figures(entries), "", *_runs(entries)])


def _figures(entries: Entries) -> list[str]:
    lines = ["| figure | found | must be | | made from |", "| --- | --- | --- | --- | --- |"]
    for key, entry in entries.items():
        if not entry["verified"]:
            why = entry.get("skipped") or "; ".join(entry["faults"])
            lines.append(f"| {key} | | | {_verdict(entry)} | {_cell(why)} |")
            continue
        seen = {name: value for name, value in entry.items() if name not in _FORM}
        made_from = ", ".join(f"{name} {_number(value)}" for name, value in seen.items())
        bound = f"{entry['bound']} {_number(entry['must'])}"
        row = (entry["figure"], _number(entry["ratio"]), bound, _verdict(entry), made_from)
        lines.append(f"| {' | '.join(_cell(text) for text in row)} |")
    return lines


def _verdict(entry: dict[str, Any]) -> str:
    if not entry["verified"]:
        return "skipped" if "skipped" in entry else "**not verified**"
    return "met" if entry["met"] else "**missed**"


def _runs(entries: Entries) -> list[str]:
    lines = [
        "| benchmark | measured | commit | size | machine | load before | took |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, entry in entries.items():
        if key == owner(key):
            size = "quick" if entry["quick"] else "full"
            row = (key, entry["at"], entry["commit"], size, entry["machine"])
            load, took = f"{entry['load_average']:.1f}", f"{entry['took_seconds']:.0f} s"
            lines.append(f"| {' | '.join((*row, load, took))} |")
    return lines


def _number(value: float) -> str:
    """Return three digits that count, or a whole number with its thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    path = parser.parse_args().file
    if not path.exists():
        print(f"no file {path}: run make bench first", file=sys.stderr)
        return 1
    print(as_markdown(load_entries(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
