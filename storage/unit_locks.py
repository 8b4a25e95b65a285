"""The search for rows that a unit could not lock, as a dialogue: statements out, rows in.

Owns the way from a submission's keys (domain.deferral) to rows and back. Writes nothing and waits
for no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.deferral import CONNECTION, CYCLE, DEVICE, EXTERNAL, Key
from storage.unit_desk import is_sendable
from storage.unit_steps import Statement, columns

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from storage.unit_steps import Rows

# For each kind of row, the statements that ask for its locks.
_PROBES = {
    DEVICE: ("find_locked_device_states", "find_locked_snapshots"),
    CONNECTION: ("find_locked_connections",),
    CYCLE: ("find_locked_cycles",),
}


def locked_rows(wanted: Collection[Key]) -> Generator[Statement, Rows, dict[Key, str]]:
    """Return the keys whose rows another transaction holds, each with that transaction."""
    names = {
        key: {key} for key in wanted if key[0] != EXTERNAL and is_sendable(key)
    }  # row -> keys that name it
    externals = sorted(key[1:] for key in wanted if key[0] == EXTERNAL and is_sendable(key))
    if externals:
        for *external, device_id in (yield Statement("resolve_external_ids", columns(externals))):
            names.setdefault((DEVICE, external[0], device_id), set()).add((EXTERNAL, *external))
    locked: dict[Key, str] = {}
    for kind, probes in _PROBES.items():
        rows = sorted(row[1:] for row in names if row[0] == kind)
        for probe in probes if rows else ():
            for workspace_id, name, holder in (yield Statement(probe, columns(rows))):
                locked.update(dict.fromkeys(names[kind, workspace_id, name], holder))
    return locked
