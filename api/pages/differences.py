"""A change of the audit as people read it: each member with its value before and after.

Owns how documents are taken apart. A member inside another has a name with a dot: `gate.cycles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_DIFFERENCES: Final = 40  # of one entry; the others are counted
MAX_CHARACTERS: Final = 300  # of one value
_ABSENT: Final = object()
# By whether there is a value before, and one after. Values are escaped when they are put in.
_LINES: Final = {
    (True, True): Markup(
        '<li><code>{0}</code> <del>{1}</del> <span aria-hidden="true">→</span>'
        '<span class="hidden-words">became</span> <ins>{2}</ins></li>'
    ),
    (True, False): Markup("<li><code>{0}</code> <del>{1}</del></li>"),
    (False, True): Markup("<li><code>{0}</code> <ins>{2}</ins></li>"),
}


class Difference(NamedTuple):
    """One member. None: it was not there, or is not there any more."""

    member: str
    before: str | None
    after: str | None


class DescribedEntry(NamedTuple):
    """An entry of the audit. `more`: how many differences are not listed."""

    entry: Mapping[str, Any]
    differences: Sequence[Difference]
    more: int

    @property
    def lines(self) -> Markup:
        """Each difference as an item of a list. In one piece: a page has hundreds of them."""
        return Markup("").join(_LINES[_shape(one)].format(*one) for one in self.differences)

    @property
    def groups(self) -> list[str]:
        """The members on the outside, each once."""
        return list(dict.fromkeys(one.member.partition(".")[0] for one in self.differences))


def describe(entry: Mapping[str, Any]) -> DescribedEntry:
    """Return the entry with its differences, in the order of the members' names."""
    before, after = entry["before"], entry["after"]
    found = list(_compare("", _ABSENT if before is None else before, after))
    return DescribedEntry(entry, found[:MAX_DIFFERENCES], max(0, len(found) - MAX_DIFFERENCES))


def _compare(name: str, before: Any, after: Any) -> Iterator[Difference]:
    if before == after:
        return
    left = before if isinstance(before, dict) else {}
    right = after if isinstance(after, dict) else {}
    if (left or right) and _is_open(before) and _is_open(after):
        for member in sorted({*left, *right}):
            inner = f"{name}.{member}" if name else member
            yield from _compare(inner, left.get(member, _ABSENT), right.get(member, _ABSENT))
        return
    yield Difference(name, _show(before), _show(after))


def _shape(one: Difference) -> tuple[bool, bool]:
    return one.before is not None, one.after is not None


def _is_open(value: Any) -> bool:
    """Return whether a value is looked into: a document, or nothing at all."""
    return value is _ABSENT or value is None or isinstance(value, dict)


def _show(value: Any) -> str | None:
    """Return a value as text: texts as they are, others as JSON, long ones cut short."""
    if value is _ABSENT:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
