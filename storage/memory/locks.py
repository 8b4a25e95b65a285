"""Rows that another transaction has locked, on the twin.

A test holds them, and units wait for them as on PostgreSQL. Owns which statement of a unit takes
which lock. Units in flight together have different rows, so no two of them ever meet here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from runtime.flag import Flag
from storage.faults import explain_error
from storage.unit.rows import LockedRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storage.unit.steps import Rows, Statement

    Row = tuple[str, str, str]  # table, workspace_id, and the rest of the key

UNIT_LOCK_SECONDS: Final = 0.5  # as the fence sets it
# The statements of a unit that lock rows; their first two arrays are the keys.
_TABLES: Final = {
    "lock_devices": "device_state",
    "write_snapshots": "snapshots",
    "lock_connections": "connection_state",
    "end_cycles": "poll_cycles",
}


class RowLocks:
    """Locks of other transactions, each with the name of its holder."""

    def __init__(self) -> None:
        self._holders: dict[Row, str] = {}
        self._released = Flag()

    def hold(self, row: Row, holder: str) -> None:
        self._holders[row] = holder

    def release(self) -> None:
        """Release every lock."""
        self._holders.clear()
        self._released.wake()

    async def wait_for(self, statement: Statement) -> None:
        """Wait until the statement can have its locks.

        Raises LockTimeout after the time that a unit waits.
        """
        table = _TABLES.get(statement.name)
        if table is None or not self._holders:
            return
        workspaces, names = statement.args[:2]
        if len(workspaces) == 1:  # one that all rows share is sent once
            workspaces = workspaces * len(names)
        with trio.move_on_after(UNIT_LOCK_SECONDS) as waiting:
            while any(self.find(table, workspaces, names)):
                await self._released.wait()
        if waiting.cancelled_caught:
            raise explain_error("55P03", None, "canceling statement due to lock timeout")

    def find(self, table: str, workspaces: Sequence[str], names: Sequence[str]) -> Rows:
        """Return those of the rows that are held, with their holders."""
        return list(self._find(table, workspaces, names))

    def _find(
        self, table: str, workspaces: Sequence[str], names: Sequence[str]
    ) -> Iterator[LockedRow]:
        for key in zip(workspaces, names, strict=True):
            if holder := self._holders.get((table, *key)):
                yield LockedRow(*key, holder)
