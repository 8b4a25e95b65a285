"""The names of the columns that the unit's statements take, read from their SQL."""

from __future__ import annotations

import re

from storage.queries import sql

_NAMES = re.compile(r"\bAS [ik] \(([^)]*)\)|^INSERT INTO \w+ \(([^)]*)\)", re.MULTILINE)


def columns_taken(statement: str) -> list[str]:
    """Return the names of the arrays that a statement of the unit takes, in their order.

    They stand behind its `unnest`, as in `AS i (workspace_id, device_id)`. Where `unnest` gives
    whole rows, they are the columns of the INSERT.
    """
    found = list(_NAMES.finditer(sql(statement)))
    names: str = (found[-1][1] or found[-1][2]) if found else ""
    return [name.strip() for name in names.split(",") if name.strip()]
