"""The edges of devices: a statement of another kind, a trouble with what it sends begun or ended.

Owns which change of a device's state gets a row in device_events. A state that lasts gets none, so
a device that is refused or left out for days costs one row. Pure: reads no clock, does no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from storage.unit.rows import DeviceEdgeRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from domain.acceptance import DeviceFold
    from storage.unit.rows import LockedDevice
    from storage.unit.statements import StoredStatement


class Unaccepted(NamedTuple):
    """A refusal with its reason, or outdated data; `at` is the newest receipt of it."""

    kind: str
    detail: str | None
    at: datetime


def device_edges(
    changed: Iterable[tuple[LockedDevice, DeviceFold, StoredStatement | LockedDevice]],
) -> list[DeviceEdgeRow]:
    """Return the rows for device_events of devices as they were locked and as they became.

    The third part has the statement as it became: the locked row itself if that one stays.
    """
    return [
        DeviceEdgeRow(row.workspace_id, row.device_id, *edge)
        for row, fold, statement in changed
        # not so for almost every device: no statement came, and nothing of it was ever refused
        if not (statement is row and fold.last_rejected_at is fold.last_outdated_at is None)
        for edge in _edges_of(row, fold, statement)
    ]


def _edges_of(
    row: LockedDevice, fold: DeviceFold, statement: StoredStatement | LockedDevice
) -> Iterator[tuple[datetime, str, str | None]]:
    """Yield instant, kind and detail of each edge."""
    kind, at = statement.statement, statement.statement_at
    if kind != row.statement and kind and at:
        yield at, kind, statement.statement_detail
    if fold.last_rejected_at is fold.last_outdated_at is None:
        return  # nothing of it was ever refused
    now, before = _trouble_of(fold), _trouble_of(row)
    if now is None:
        if before is not None and fold.last_update_received_at is not None:
            yield fold.last_update_received_at, "accepted", None
    elif before is None or now[:2] != before[:2]:
        yield now.at, now.kind, now.detail


def _trouble_of(state: LockedDevice | DeviceFold) -> Unaccepted | None:
    """Return what is wrong with the newest thing the device sent, as the health rule has it."""
    accepted_at = state.last_update_received_at
    rejected_at = _after(accepted_at, state.last_rejected_at)
    outdated_at = _after(accepted_at, state.last_outdated_at)
    if rejected_at is not None and (outdated_at is None or rejected_at >= outdated_at):
        return Unaccepted("refused", state.last_rejection_reason, rejected_at)
    return None if outdated_at is None else Unaccepted("outdated", None, outdated_at)


def _after(accepted_at: datetime | None, at: datetime | None) -> datetime | None:
    return at if at is not None and (accepted_at is None or at > accepted_at) else None
