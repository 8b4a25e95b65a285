"""The SQL statements: named blocks in storage/sql/*.sql, read once.

A block begins with `-- name: lock_devices`; the comment below that line says why the statement is
as it is. A block that begins with `-- part: …` is no statement, but text for statements: a line
`-- use: …` stands for it. Names are unique over all files. Values are always parameters: `$1` to
`$4`, or `:name` in a statement that has more, which storage/parameters.py numbers once. The few
statements that need a computed identifier are in storage/upkeep.py.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from storage.parameters import Parameters, number_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = re.compile(r"^-- (name|part): (\w+)\s*$")
_USE = re.compile(r"^-- use: (\w+)$", re.MULTILINE)


def parse_blocks(sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the statement of each name, from (file name, text) pairs.

    Raises ValueError for a duplicate, empty or nameless block, and for a part that is not there.
    """
    blocks: dict[str, str] = {}
    parts: set[str] = set()
    for source, text in sources:
        name = None
        for line in text.splitlines():
            found = _NAME.match(line)
            if found:
                name = found[2]
                if name in blocks:
                    raise ValueError(f"{source}: there are two blocks named {name}")
                blocks[name] = ""
                if found[1] == "part":
                    parts.add(name)
            elif name is not None:
                blocks[name] += f"{line}\n"
            elif line.strip() and not line.startswith("--"):
                raise ValueError(f"{source}: SQL before the first block's name: {line}")
    for name, statement in blocks.items():
        if not _without_comments(statement).strip():
            raise ValueError(f"block {name} holds no statement")
    return {
        name: _without_comments(_insert_parts(text, {part: blocks[part] for part in parts})).strip()
        for name, text in blocks.items()
        if name not in parts
    }


def _insert_parts(text: str, parts: Mapping[str, str]) -> str:
    """Return the text with the parts that it uses, and those that these use."""

    def insert(use: re.Match[str]) -> str:
        if use[1] not in parts:
            raise ValueError(f"there is no part named {use[1]}")
        return parts[use[1]].rstrip()

    while _USE.search(text):
        text = _USE.sub(insert, text)
    return text


def read_sources() -> list[tuple[str, str]]:
    """Return the files of storage/sql as (name, text)."""
    folder = files("storage") / "sql"
    return sorted(
        (entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".sql")
    )


def sql(name: str) -> str:
    """Return the statement of that name. Raises KeyError if there is none."""
    return STATEMENTS[name]


def bind(name: str, /, **values: Any) -> tuple[Any, ...]:
    """Return the arguments of a statement with named parameters, in order.

    Raises TypeError for a missing or an unknown name.
    """
    return PARAMETERS[name].bind(values)


def bound(name: str, /, **values: Any) -> tuple[Any, ...]:
    """Return the statement and its arguments, as the driver's calls take them: see `bind`."""
    return (STATEMENTS[name], *PARAMETERS[name].bind(values))


def picked(name: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the statement and its arguments, from values of which it may need only some."""
    return bound(name, **{each: values[each] for each in PARAMETERS[name].names})


def _without_comments(statement: str) -> str:
    return "\n".join(line for line in statement.splitlines() if not line.lstrip().startswith("--"))


_NUMBERED: Mapping[str, tuple[str, Parameters]] = {
    name: number_parameters(name, statement)
    for name, statement in parse_blocks(read_sources()).items()
}
STATEMENTS: Mapping[str, str] = {name: text for name, (text, _) in _NUMBERED.items()}
PARAMETERS: Mapping[str, Parameters] = {name: found for name, (_, found) in _NUMBERED.items()}
