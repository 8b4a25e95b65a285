"""The names of the columns that the unit's statements take, read from their SQL."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from storage.queries import PARAMETERS, sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_NAMES = re.compile(r"\bAS [ik] \(([^)]*)\)|^INSERT INTO \w+ \(([^)]*)\)", re.MULTILINE)


def unnested(arrays: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that `unnest` makes of these arrays: shorter ones are filled up with nulls."""
    return zip_longest(*arrays)


def columns_taken(statement: str) -> list[str]:
    """Return the names of what a statement of the unit takes, in their order.

    They are the names of its parameters. A statement whose parameters have numbers gives the names
    behind its `unnest`, as in `AS k (workspace_id, device_id)`.
    """
    if PARAMETERS[statement].names:
        return list(PARAMETERS[statement].names)
    found = list(_NAMES.finditer(sql(statement)))
    names: str = (found[-1][1] or found[-1][2]) if found else ""
    return [name.strip() for name in names.split(",") if name.strip()]
