"""The mistakes of a fleet file: each with its line, its place in words, and its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lastheard.fleet_lines import index_lines, line_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lastheard.fleet_lines import Steps

MAX_LISTED = 50
_SINGULAR = {"workspaces": "workspace", "connections": "connection", "devices": "device"}


class FleetFault(NamedTuple):
    """A mistake at one place of the file: the keys and indexes that lead to it."""

    steps: Steps
    detail: str


class FleetInvalid(Exception):
    """The file has mistakes, and nothing of it was applied. The text has them, one a line."""


def refuse_text(path: Path, line: int, detail: str) -> FleetInvalid:
    """Return the refusal of a file that is not TOML from this line on."""
    return FleetInvalid(f"{path}, line {line}: {detail}\nNothing was applied.")


def refuse_faults(
    path: Path, text: str, document: Any, faults: Sequence[FleetFault]
) -> FleetInvalid:
    """Return the refusal of a file with these mistakes, in the order of their lines."""
    index = index_lines(text)
    placed = sorted((line_of(index, fault.steps), fault) for fault in faults)
    lines = [
        f"{path}, line {line}: {name_place(document, fault.steps)}: {fault.detail}"
        for line, fault in placed[:MAX_LISTED]
    ]
    more = len(placed) - MAX_LISTED
    lines += [f"and {more} more"] if more > 0 else []
    return FleetInvalid("\n".join([*lines, "Nothing was applied."]))


def name_place(document: Any, steps: Steps) -> str:
    """Return a place in words: `workspace north, connection live, base_url`."""
    words: list[str] = []
    for step in steps:
        document = _member(document, step)
        if isinstance(step, int) and words and words[-1] in _SINGULAR:
            words[-1] = f"{_SINGULAR[words[-1]]} {_id_of(document, step)}"
        else:
            words.append(str(step))
    return ", ".join(words) or "the file"


def _member(document: Any, step: str | int) -> Any:
    match document:
        case dict():
            return document.get(step)
        case list() if isinstance(step, int) and step < len(document):
            return document[step]
        case _:
            return None


def _id_of(table: Any, number: int) -> str:
    """Return the id of a table, or its number in the file if it has none."""
    named = table.get("id") if isinstance(table, dict) else None
    return named if isinstance(named, str) else f"no. {number + 1}"
