"""docs/log-events.md as data: each event's level, fields and example line.

Owns reading the page, and the judgement of one line of a log by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE: Final = Path(__file__).parents[1] / "docs" / "log-events.md"
ROW: Final = re.compile(r"\| `(\w+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \| (.*) \|")
NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
OPEN: Final = frozenset({"registry_synced", "retention_applied"})  # have counts by data's names


@dataclass(frozen=True)
class Documented:
    """What the page says of one event."""

    event: str
    levels: frozenset[str]
    when: str
    fields: frozenset[str]  # in every line of the event
    sometimes: frozenset[str]
    about: frozenset[str]  # bound to the logger: what the line is about
    advice: str


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Documented]:
    return {found.event: found for found in map(_read, _rows())}


@lru_cache(maxsize=1)
def examples() -> tuple[dict[str, Any], ...]:
    """Return the example lines, in the order of the page."""
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return tuple(orjson.loads(line) for block in blocks for line in block.splitlines())


@lru_cache(maxsize=1)
def everywhere() -> frozenset[str]:
    """Return the fields that any line may have."""
    head = PAGE.read_text(encoding="utf-8").partition("Other fields")[0]
    rows = [line for line in head.splitlines() if line.startswith("| `")]
    return frozenset(name for row in rows for name in _names(row.split("|")[1]))


def faults_of_line(line: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a line of our log by the page. A library's line has no faults."""
    event = str(line["event"])
    known = catalogue().get(event)
    if known is None:
        return [f"{event} is not in the page"] if NAME.fullmatch(event) else []
    allowed = known.fields | known.sometimes | known.about | everywhere()
    extra = set() if event in OPEN else line.keys() - allowed
    wrong = [f"{event} has {name}" for name in sorted(extra)]
    needed = known.fields | {"timestamp", "logger_name"}
    wrong += [f"{event} lacks {name}" for name in sorted(needed - line.keys())]
    if line["level"] not in known.levels:
        wrong.append(f"{event} is {line['level']}")
    return wrong


def _rows() -> list[re.Match[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [found for line in lines if (found := ROW.fullmatch(line))]


def _read(row: re.Match[str]) -> Documented:
    event, levels, when, fields, advice = row.groups()
    rest, _, about = fields.partition("with ")
    always, _, sometimes = rest.partition("sometimes ")
    return Documented(
        event,
        frozenset(levels.split(", ")),
        when,
        _names(always),
        _names(sometimes),
        _names(about),
        advice,
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"`(\w+)`", text))
