"""Named parameters of SQL: `:name` in a file becomes `$1`, `$2`, … in the order of appearance.

A name that appears twice is one parameter. Casts (`::text[]`), strings, quoted identifiers and
comments stay as they are. A slice of an array (`a[1:n]`) and a dollar-quoted string are not
understood; no statement of ours needs one.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_POSITIONAL: Final = 4  # a statement with more parameters names them

_TOKEN: Final = re.compile(
    r"""
    '(?:[^']|'')*'             # a string
    | "(?:[^"]|"")*"           # a quoted identifier
    | --[^\n]*                 # a comment to the end of its line
    | /\*.*?\*/                # a comment
    | ::                       # a cast
    | :(?P<name>[a-z_]\w*)
    | \$(?P<number>\d+)
    """,
    re.VERBOSE | re.DOTALL,
)


class Parameters:
    """The names of one statement's parameters, in the order of their numbers."""

    def __init__(self, statement: str, names: tuple[str, ...]) -> None:
        self.names = names
        self._statement = statement
        self._known = frozenset(names)
        # itemgetter returns a bare value for one name, and takes no empty list of names
        self._pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] = (
            itemgetter(*names) if len(names) > 1 else lambda values: tuple(values[n] for n in names)
        )

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values in order. Raises TypeError for a missing or an unknown name."""
        if values.keys() != self._known:
            missing = sorted(self._known - values.keys())
            unknown = sorted(values.keys() - self._known)
            raise TypeError(f"{self._statement}: missing {missing}, unknown {unknown}")
        return self._pick(values)


def number_parameters(name: str, statement: str) -> tuple[str, Parameters]:
    """Return the statement with numbers for names, and its parameters.

    Raises ValueError if it mixes names and numbers, or has more than MAX_POSITIONAL numbers.
    """
    numbers: dict[str, int] = {}
    positional: set[int] = set()

    def number(token: re.Match[str]) -> str:
        if token["name"]:
            return f"${numbers.setdefault(token['name'], len(numbers) + 1)}"
        if token["number"]:
            positional.add(int(token["number"]))
        return token[0]

    numbered = _TOKEN.sub(number, statement)
    if numbers and positional:
        raise ValueError(f"block {name} has both named and numbered parameters")
    if len(positional) > MAX_POSITIONAL:
        raise ValueError(f"block {name} has {len(positional)} parameters without names")
    return numbered, Parameters(name, tuple(numbers))
