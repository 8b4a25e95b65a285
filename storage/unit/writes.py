"""The statements that write a unit's devices: device_state, snapshots and events. Pure.

Owns how folds become arrays. Each has one list for each column, which is cheaper than a named row
for each device and event. A column of nothing but nulls, and what many events or devices share, is
not sent for each of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from domain.resource import workspace_resource
from storage.documents import dump_document, dump_readings
from storage.unit.steps import Copy, Statement, columns, nullable, shared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.acceptance import AcceptedEvent, DeviceFold
    from domain.model import Ownership, SessionRef
    from storage.unit.rows import LockedDevice
    from storage.unit.statements import StoredStatement

    # the row that was read, its fold, and the statement that replaces the row's, or the row itself
    ChangedState = tuple[LockedDevice, DeviceFold, StoredStatement | LockedDevice]
    # the device, the event, and the claim under which it was collected
    Accepted = tuple[DeviceFold, AcceptedEvent, Ownership | None]

_UUID: Final = re.compile("[0-9a-f]{32}")


def write_states(states: Sequence[ChangedState]) -> Statement:
    rows = [row for row, _, _ in states]
    folds = [fold for _, fold, _ in states]
    statements = [statement for _, _, statement in states]
    return Statement.bound(
        "write_device_states",
        workspace_id=shared([fold.workspace_id for fold in folds]),
        device_id=[fold.device_id for fold in folds],
        old_version=[row.version for row in rows],
        version=[fold.version for fold in folds],
        last_update_received_at=[fold.last_update_received_at for fold in folds],
        last_observed_at=[fold.last_observed_at for fold in folds],
        last_changed_at=[fold.last_changed_at for fold in folds],
        last_rejected_at=nullable([fold.last_rejected_at for fold in folds]),
        last_rejection_reason=nullable([fold.last_rejection_reason for fold in folds]),
        last_outdated_at=nullable([fold.last_outdated_at for fold in folds]),
        held_back_seconds=nullable([fold.held_back_seconds for fold in folds]),
        unaccepted_reception_at=nullable([fold.unaccepted_reception_at for fold in folds]),
        statement=nullable([stored.statement for stored in statements]),
        statement_begun_at=nullable([stored.statement_begun_at for stored in statements]),
        statement_at=nullable([stored.statement_at for stored in statements]),
        statement_detail=nullable([stored.statement_detail for stored in statements]),
    )


def write_snapshots(moved: Sequence[tuple[DeviceFold, int]]) -> Statement:
    """Return the statement for these folds, each with the version that was read."""
    return Statement.bound(
        "write_snapshots",
        workspace_id=shared([fold.workspace_id for fold, _ in moved]),
        device_id=[fold.device_id for fold, _ in moved],
        old_version=[old_version for _, old_version in moved],
        version=[fold.version for fold, _ in moved],
        document=[dump_document(fold.document) for fold, _ in moved],
    )


def append_events(accepted: Sequence[Accepted], session: SessionRef, recorded_at: datetime) -> Copy:
    """Return the rows of events, which are recorded at one instant of the database."""
    folds = [fold for fold, _, _ in accepted]
    updates = [event.update for _, event, _ in accepted]
    observed_at, signals = columns([dump_readings(event.readings) for _, event, _ in accepted])
    traces, trace_ids = _split_trace_ids([update.trace_id for update in updates])
    owners = [owner for _, _, owner in accepted]
    return Copy.into(
        "events",
        workspace_id=[fold.workspace_id for fold in folds],
        device_id=[fold.device_id for fold in folds],
        sequence=[event.sequence for _, event, _ in accepted],
        recorded_at=[recorded_at] * len(accepted),
        received_at=[update.received_at for update in updates],
        observed_at=observed_at,
        signals=signals,
        provider_id=[update.provider_id for update in updates],
        trace=traces,
        trace_id=trace_ids,
        shard_id=[session.shard_id] * len(accepted),
        epoch=[session.epoch] * len(accepted),
        resource=[_other_resource(fold, owner) for fold, _, owner in accepted],
        token=[owner and owner.token for owner in owners],
        assignment=[fold.assignment for fold in folds],
        reception_at=[update.reception_at for update in updates],
    )


def _split_trace_ids(
    trace_ids: Sequence[str],
) -> tuple[list[str | None], list[str | None]]:
    """Return those that a uuid holds, in half the bytes, and the others; null in the other list."""
    are_uuids = {trace_id: _UUID.fullmatch(trace_id) is not None for trace_id in set(trace_ids)}
    return (
        [trace_id if are_uuids[trace_id] else None for trace_id in trace_ids],
        [None if are_uuids[trace_id] else trace_id for trace_id in trace_ids],
    )


def _other_resource(fold: DeviceFold, owner: Ownership | None) -> str | None:
    """Return the resource of the claim; None for the workspace's own, which the row names."""
    if owner is None or owner.resource == workspace_resource(fold.workspace_id):
        return None
    return owner.resource
