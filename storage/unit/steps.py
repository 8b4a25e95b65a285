"""The types between the ingest unit and the code that drives it: statements out, rows in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from ports.ingest import UnitPoisoned
from storage.faults import CLIENT_SIDE
from storage.queries import bind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from typing import Protocol

    class NamedRow(Protocol):
        """A NamedTuple."""

        @property
        def _fields(self) -> tuple[str, ...]: ...
        def __iter__(self) -> Iterator[Any]: ...

    Rows = Sequence[Any]  # rows as tuples in the order of the statement's columns
    Steps = Generator["Statement", Rows, None]


class Statement(NamedTuple):
    """The name of a block of storage/sql, and its arguments in order."""

    name: str
    args: tuple[Any, ...]

    @staticmethod
    def bound(name: str, /, **values: Any) -> Statement:
        """Return a statement with named parameters. Raises TypeError for a wrong name."""
        return Statement(name, bind(name, **values))


class Copy(Statement):
    """Rows for one table, which go by binary COPY instead of a block of SQL. It returns no rows.

    Its arguments are the names of the columns, and the columns. Others get their defaults.
    """

    __slots__ = ()

    @staticmethod
    def into(table: str, **values: list[Any]) -> Copy:
        """Return a COPY of these columns, of equal length. One of nothing but nulls is left out."""
        kept = {name: column for name, column in values.items() if nullable(column)}
        return Copy(f"append_{table}", (tuple(kept), tuple(kept.values())))

    @property
    def table(self) -> str:
        return self.name.removeprefix("append_")


def columns(rows: Iterable[Iterable[Any]]) -> tuple[list[Any], ...]:
    """Return the rows as the arrays that `unnest` takes. There must be at least one row."""
    return tuple(map(list, zip(*rows, strict=True)))


def nullable(column: list[Any]) -> list[Any]:
    """Return the column, or an empty one if it has nothing but nulls: `unnest` pads the shorter.

    For columns that are null in most units. The driver takes as long for a null as for a number.
    """
    return [] if column[0] is None and column.count(None) == len(column) else column


def shared(column: list[Any]) -> list[Any]:
    """Return the column, or its first value alone if it has no other one.

    `unnest` pads a shorter column with nulls, for which the statement takes the first value. For
    workspaces: a unit has one or a few, and the driver takes twice as long for a text as for a
    number.
    """
    return column[:1] if column.count(column[0]) == len(column) else column


def named_columns(rows: Iterable[Any], names: Iterable[str]) -> dict[str, list[Any]]:
    """Return the rows' values of each name, as a statement with named parameters takes them."""
    kept = list(rows)
    return {name: [getattr(row, name) for row in kept] for name in names}


def append(
    name: str, rows: Sequence[NamedRow], /, **others: Any
) -> Generator[Statement, Rows, Rows]:
    """Yield one statement with an array for each field of the rows; nothing if there are no rows.

    The rows are of one type, whose fields are parameters of the statement. `others` are the rest.
    Returns the rows that the statement returns.
    """
    if not rows:
        return ()
    values = dict(zip(rows[0]._fields, map(nullable, columns(rows)), strict=True))
    return (yield Statement.bound(name, **values, **others))


def dump_json(document: Any) -> str:
    """Return the document as it is stored.

    Raises UnitPoisoned for a value that JSON cannot hold. The data is at fault, and the error comes
    before the server sees it.
    """
    try:
        return orjson.dumps(document, option=orjson.OPT_UTC_Z).decode()
    except TypeError as error:
        raise UnitPoisoned(CLIENT_SIDE, str(error)) from error
