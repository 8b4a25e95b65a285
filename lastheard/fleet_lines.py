"""The line of each value in a TOML file.

tomllib reads values without their places. A TOML file is a row of statements (a header, or a key
with its value), and each of them is a TOML document by itself. So the file is cut into statements
by tomllib, and what a statement says is found by reading it alone. Only a file with a mistake is
read in this way.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Steps = tuple[str | int, ...]

# A statement of many lines is read again for each of them. After so many the search ends, and the
# rest of the file has no lines.
MAX_STATEMENT_LINES = 300


def index_lines(text: str) -> dict[Steps, int]:
    """Return the line, from 1, of every table, key and item in a document that tomllib reads."""
    index: dict[Steps, int] = {(): 1}
    counts: dict[Steps, int] = {}
    table: Steps = ()
    for line, statement in _statements(text):
        document = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _enter(document, counts)
            for length in range(1, len(table) + 1):
                index.setdefault(table[:length], line)
        else:
            for steps in _steps_within(document):
                index.setdefault(table + steps, line)
    return index


def line_of(index: dict[Steps, int], steps: Sequence[str | int]) -> int:
    """Return the line of a place, or of the nearest thing around it that has one."""
    for length in range(len(steps), 0, -1):
        found = index.get(tuple(steps[:length]))
        if found is not None:
            return found
    return 1


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with the line on which it begins."""
    begun, lines = 1, list[str]()
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        lines.append(line)
        statement = "\n".join(lines)
        if _is_whole(statement):
            yield begun, statement
            begun, lines = number + 1, []
        elif len(lines) > MAX_STATEMENT_LINES:
            return


def _is_whole(statement: str) -> bool:
    try:
        return tomllib.loads(statement) is not None
    except tomllib.TOMLDecodeError:
        return False


def _enter(document: Any, counts: dict[Steps, int]) -> Steps:
    """Return the place of the table that a header begins. `counts` has the last item of each array.

    `[[workspaces.devices]]` is a further device of the workspace that was begun last.
    """
    steps: Steps = ()
    while document:
        ((key, document),) = document.items()
        steps += (key,)
        if isinstance(document, list):  # only the last key of a [[header]] is
            counts[steps] = counts.get(steps, -1) + 1
            document = None
        if steps in counts:
            steps += (counts[steps],)
    return steps


def _steps_within(value: Any) -> Iterator[Steps]:
    members: Iterator[tuple[str | int, Any]]
    match value:
        case dict():
            members = iter(value.items())
        case list():
            members = enumerate(value)
        case _:
            return
    for key, member in members:
        yield (key,)
        for steps in _steps_within(member):
            yield (key, *steps)
