"""The types between the ingest unit and the code that drives it: statements out, rows in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from ports.ingest import UnitPoisoned
from storage.faults import CLIENT_SIDE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    Rows = Sequence[Any]  # rows as tuples in the order of the statement's columns
    Steps = Generator["Statement", Rows, None]


class Statement(NamedTuple):
    """A block of storage/sql with its parameters, by name."""

    name: str
    args: tuple[Any, ...]


def columns(rows: Iterable[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    """Return the rows as the arrays that `unnest` takes. There must be at least one row."""
    return tuple(map(list, zip(*rows, strict=True)))


def append(name: str, rows: Sequence[tuple[Any, ...]]) -> Steps:
    """Yield one statement with one array for each column; nothing if there are no rows."""
    if rows:
        yield Statement(name, columns(rows))


def dump_json(document: Any) -> str:
    """Return the document as it is stored.

    Raises UnitPoisoned for a value that JSON cannot hold. The data is at fault, and the error comes
    before the server sees it.
    """
    try:
        return orjson.dumps(document, option=orjson.OPT_UTC_Z).decode()
    except TypeError as error:
        raise UnitPoisoned(CLIENT_SIDE, str(error)) from error
