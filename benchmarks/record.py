"""What a run of the benchmarks found, as the entries of build/bench.json and as an exit code.

Owns the form of that file, and nothing of how anything is measured. An entry stands under the name
of its figure; the first figure of a benchmark stands under the benchmark's id. Each entry says when
it was measured, on which machine and from which commit, because a run of some benchmarks leaves the
entries of the others as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.figure import Figure

    Entries = dict[str, dict[str, Any]]

EXIT_MET: Final = 0
EXIT_BELOW_MUST: Final = 1
EXIT_NOT_VERIFIED: Final = 3


class CannotBeMeasured(Exception):
    """This machine lacks what a benchmark compares with. The text says what to install."""


class Outcome(NamedTuple):
    """The end of one benchmark: its figures, or why there are none. At most one member is set.

    `faults`: the work was not done right, or the benchmark failed. `skipped`: the machine lacks
    something.
    """

    id: str
    figures: Sequence[Figure] = ()
    faults: Sequence[str] = ()
    skipped: str | None = None

    @property
    def code(self) -> int:
        if self.faults:
            return EXIT_NOT_VERIFIED
        return EXIT_MET if all(each.is_met for each in self.figures) else EXIT_BELOW_MUST

    def entries(self, context: Mapping[str, Any]) -> Entries:
        """Return what build/bench.json says about this benchmark. `context` is in every entry."""
        if self.faults:
            return {self.id: {"verified": False, "faults": list(self.faults), **context}}
        if self.skipped is not None:
            return {self.id: {"verified": False, "skipped": self.skipped, **context}}
        return {
            self.id if place == 0 else figure.name: {
                **figure.as_entry(),
                "figure": figure.name,
                **context,
            }
            for place, figure in enumerate(self.figures)
        }


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """Return the code of the whole run: what was not verified outweighs what is below its bound."""
    return max((outcome.code for outcome in outcomes), default=EXIT_MET)


def find_faults(id: str, figures: Sequence[Figure]) -> list[str]:
    """Return what is wrong with the names of a benchmark's figures: they are keys of one file."""
    if not figures:
        return [f"{id} returned no figure"]
    names = [figure.name for figure in figures]
    foreign = [name for name in names if name != id and not name.startswith(f"{id} ")]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [
        *(f"the name of a figure of {id} must begin with {id}: {name}" for name in foreign),
        *(f"two figures of {id} have one name: {name}" for name in twice),
    ]


def owner(key: str) -> str:
    """Return the id of the benchmark to which an entry belongs."""
    return key.partition(" ")[0]


def load_entries(path: Path) -> Entries:
    """Return the entries of an earlier run; none if there is no file."""
    if not path.exists():
        return {}
    found: Entries = orjson.loads(path.read_bytes())
    return found


def save_entries(path: Path, entries: Entries) -> None:
    """Write the file in the order of the ids. A reader sees the old file or the whole new one."""
    ordered = dict(sorted(entries.items(), key=lambda item: place_of(item[0])))
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(orjson.dumps(ordered, option=orjson.OPT_INDENT_2))
    fresh.replace(path)


def place_of(key: str) -> tuple[int, str]:
    """Return what to sort by: the number of the id, then the first figure before the others."""
    digits = owner(key).removeprefix("B")
    return (int(digits) if digits.isdigit() else 0, "" if key == owner(key) else key)
