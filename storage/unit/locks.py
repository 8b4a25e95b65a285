"""The search for rows that a unit could not lock, as a dialogue: statements out, rows in.

Owns the way from a submission's keys (domain.deferral) to rows and back. Writes nothing and waits
for no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.deferral import CONNECTION, CYCLE, DEVICE, EXTERNAL, Key
from storage.unit.devices import is_sendable
from storage.unit.rows import LockedRow, ResolvedDevice
from storage.unit.steps import Statement, columns

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from storage.unit.steps import Rows

# For each kind of row, the statements that ask for its locks.
_PROBES = {
    DEVICE: ("find_locked_device_states", "find_locked_snapshots"),
    CONNECTION: ("find_locked_connections",),
    CYCLE: ("find_locked_cycles",),
}


def locked_rows(wanted: Collection[Key]) -> Generator[Statement, Rows, dict[Key, str]]:
    """Return the keys whose rows another transaction holds, each with that transaction."""
    # row -> keys that name it
    names = {key: {key} for key in wanted if not _is_external(key) and is_sendable(key)}
    externals = [key for key in wanted if _is_external(key) and is_sendable(key)]
    if externals:
        keys = columns(sorted(_without_kind(key) for key in externals))
        rows = yield Statement("resolve_external_ids", keys)
        for device in map(ResolvedDevice._make, rows):
            row = (DEVICE, device.workspace_id, device.device_id)
            key = (EXTERNAL, device.workspace_id, device.provider_id, device.external_id)
            names.setdefault(row, set()).add(key)
    locked: dict[Key, str] = {}
    for kind, probes in _PROBES.items():
        keys_of_kind = sorted(_without_kind(row) for row in names if _kind_of(row) == kind)
        for probe in probes if keys_of_kind else ():
            rows = yield Statement(probe, columns(keys_of_kind))
            for found in map(LockedRow._make, rows):
                keys_of_row = names[kind, found.workspace_id, found.name]
                locked.update(dict.fromkeys(keys_of_row, found.holder))
    return locked


def _kind_of(key: Key) -> str:
    kind, *_ = key
    return kind


def _is_external(key: Key) -> bool:
    return _kind_of(key) == EXTERNAL


def _without_kind(key: Key) -> tuple[str, ...]:
    _, *names = key
    return tuple(names)
