"""Every statement with one of its conditions on the workspace taken out.

The text is changed. Joins with USING are first spelt out as ON, so that each condition stands by
itself. A condition that compares with a parameter keeps the parameter, so that the server still
knows its type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

_COLUMN: Final = r"(?<![\w.])(?:\w+\.)?(?:workspace_id|resource)"
_REMOVALS: Final = (
    (re.compile(rf"{_COLUMN} = ANY \((\$\d+)(?:::text\[\])?\)"), r"\1::text[] IS NOT NULL"),
    (re.compile(rf"{_COLUMN} = (\$\d+)"), r"\1::text IS NOT NULL"),
    (re.compile(rf"{_COLUMN} = (?:'workspace:' \|\| )?\w+\.(?:workspace_id|resource)"), "true"),
    (
        re.compile(rf"{_COLUMN} = coalesce\(\w+\.workspace_id, \(SELECT \$\d+::json ->> 0\)\)"),
        "true",
    ),
    (re.compile(r"\(workspace_id, (\w+)\) = \(\s*SELECT workspace_id, "), r"(\1) = (SELECT "),
)
_FROM: Final = re.compile(r"FROM (unnest\([^()]*\)|\w+)(?: AS)?(?: (?!JOIN|LEFT|WHERE)(\w+))?")
_AROUND: Final = 100  # characters; more than any two places of one statement have in common
_NUMBER: Final = re.compile(r"\$\d+")
_USING: Final = re.compile(
    r"JOIN (\w+|unnest\([^()]*\)) (?:AS )?(\w+)( \([\w, ]+\))? USING \(([\w, ]+)\)"
)


class Mutant(NamedTuple):
    """`removed` is the condition that `sql` lacks, the `number`th of its statement.

    `place` is the text around it, which is the same in all statements that use a part.
    """

    statement: str
    number: int
    removed: str
    sql: str
    place: str = ""


def mutants_of(name: str, statement: str) -> Iterator[Mutant]:
    """Return one mutant for each condition on the workspace."""
    spelt = spell_out(statement)
    found = sorted(
        (match.start(), match, replacement)
        for pattern, replacement in _REMOVALS
        for match in pattern.finditer(spelt)
    )
    for number, (start, match, replacement) in enumerate(found, 1):
        mutated = spelt[:start] + match.expand(replacement) + spelt[match.end() :]
        around = spelt[max(0, start - _AROUND) : match.end() + _AROUND]
        yield Mutant(name, number, match[0], mutated, _NUMBER.sub("$", around))


def join_parts(mutants: Iterable[Mutant], sharing: Container[str]) -> list[list[Mutant]]:
    """Return the mutants to try at once: a condition of a part goes from all that use the part.

    `sharing` has the statements that use parts.
    """
    groups: dict[object, list[Mutant]] = {}
    for mutant in mutants:
        is_shared = mutant.statement in sharing
        key = mutant.place if is_shared else (mutant.statement, mutant.number)
        groups.setdefault(key, []).append(mutant)
    return list(groups.values())


def spell_out(statement: str) -> str:
    """Return the statement with ON in place of USING.

    `JOIN b USING (k)` becomes `JOIN b ON b.k = a.k`.
    """

    def spell(join: re.Match[str]) -> str:
        table, alias, names, keys = join.groups()
        source = list(_FROM.finditer(statement, 0, join.start()))[-1]
        left = source[2] or source[1]
        conditions = " AND ".join(f"{alias}.{key} = {left}.{key}" for key in keys.split(", "))
        return f"JOIN {table} AS {alias}{names or ''} ON {conditions}"

    return _USING.sub(spell, statement)
