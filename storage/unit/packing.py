"""Arrays of a unit's statements, each packed into one text: how they cross to PostgreSQL.

The driver takes 0.5 µs to encode an element of an array, and 1.7 µs for an instant, because it asks
of each whether it is an array itself. One JSON text of all of them takes a fifth of that, and
PostgreSQL reads it as fast. A statement says in its SQL which form a parameter has:

- `json_array_elements_text(:name::json)`: any texts, as a JSON array.
- `:name::text::bigint[]`, or of another type: numbers, instants and nulls, as an array's literal.
- `string_to_table(:name::text, E'\\x1f')`: JSON documents, in which that character cannot stand.

Other parameters go as they are. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from ports.ingest import UnitPoisoned
from storage.faults import CLIENT_SIDE
from storage.queries import STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from storage.unit.steps import Statement

    Pack = Callable[[Any], Any]

SEPARATOR: Final = "\x1f"


def pack_texts(column: Sequence[str | None]) -> str:
    return orjson.dumps(column).decode()


def pack_literal(column: Sequence[Any]) -> str:
    """Return numbers, instants and nulls as the literal of an array."""
    return "{" + orjson.dumps(column)[1:-1].decode() + "}"


def pack_documents(column: Sequence[str]) -> str:
    return SEPARATOR.join(column)


_FORMS: Final[Sequence[tuple[re.Pattern[str], Pack]]] = (
    (re.compile(r"json_array_elements_text\(\$(\d+)::json\)"), pack_texts),
    (re.compile(r"\$(\d+)::text::\w+\[\]"), pack_literal),
    (re.compile(r"string_to_table\(\$(\d+)::text, E'\\x1f'\)"), pack_documents),
)


def _forms_of(statement: str) -> dict[int, Pack]:
    return {
        int(number) - 1: pack for pattern, pack in _FORMS for number in pattern.findall(statement)
    }


_PACKED: Final[Mapping[str, Mapping[int, Pack]]] = {
    name: forms for name, text in STATEMENTS.items() if (forms := _forms_of(text))
}


def pack(statement: Statement) -> Sequence[Any]:
    """Return the statement's arguments as the driver gets them.

    Raises UnitPoisoned for a value that JSON cannot hold: the data is at fault.
    """
    forms = _PACKED.get(statement.name)
    if forms is None:
        return statement.args
    packed = list(statement.args)
    for place, pack_column in forms.items():
        try:
            packed[place] = pack_column(packed[place])
        except TypeError as error:
            raise UnitPoisoned(CLIENT_SIDE, str(error)) from error
    return packed
