"""The providers' statements about the devices of one unit: the newest of each device counts.

Owns which statement replaces which. Pure: reads no clock, does no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Set
    from datetime import datetime

    from domain.model import Submission
    from storage.unit.rows import LockedDevice


class StoredStatement(NamedTuple):
    """The columns of device_state that hold the newest statement about a device.

    A row of lock_devices has them by the same names.
    """

    statement: str | None
    statement_begun_at: datetime | None
    statement_at: datetime | None
    statement_detail: str | None


class NewestStatements:
    """The newest statement about each device, of all that a unit brings."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], tuple[datetime, StoredStatement]] = {}

    def note(self, submissions: Iterable[Submission]) -> None:
        for submission in submissions:
            for statement in submission.statements:
                begun_at = statement.begun_at
                stored = StoredStatement(
                    statement.kind.value, begun_at, statement.at, statement.detail
                )
                for device_id in statement.device_ids:
                    key = (statement.workspace_id, device_id)
                    known = self._newest.get(key)
                    if known is None or begun_at >= known[0]:
                        self._newest[key] = (begun_at, stored)

    def keys(self) -> Set[tuple[str, str]]:
        """Return the workspace and id of each device that a statement is about."""
        return self._newest.keys()

    def replacement_for(self, row: LockedDevice) -> StoredStatement | None:
        """Return the statement that replaces the stored one; None if that one stays.

        A statement counts only if its call was begun in the device's present assignment, and not
        before the call of the stored statement.
        """
        if not self._newest:  # as in most units
            return None
        found = self._newest.get((row.workspace_id, row.device_id))
        since = row.statements_count_from
        if found is None or not row.active or since is None or found[0] < since:
            return None
        stored_at = row.statement_begun_at
        return found[1] if stored_at is None or found[0] >= stored_at else None
