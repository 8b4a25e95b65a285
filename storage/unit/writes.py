"""The statements that write a unit's devices: device_state, snapshots and events. Pure.

Owns how folds become arrays. Each has one list for each column, which is cheaper than a named row
for each device and event. A column of nothing but nulls, and what many events or devices share, is
not sent for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.documents import dump_document, dump_readings
from storage.unit.steps import Statement, columns, nullable, shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.acceptance import AcceptedEvent, DeviceFold
    from domain.model import Ownership, SessionRef
    from storage.unit.rows import LockedDevice
    from storage.unit.statements import StoredStatement

    # the row that was read, its fold, and the statement that replaces the row's, or the row itself
    ChangedState = tuple[LockedDevice, DeviceFold, StoredStatement | LockedDevice]
    # the device, the event, and the claim under which it was collected
    Accepted = tuple[DeviceFold, AcceptedEvent, Ownership | None]
    Source = tuple[str, str, str, Ownership | None]  # workspace_id, provider_id, trace_id, claim


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


def append_events(accepted: Sequence[Accepted], session: SessionRef) -> Statement:
    sources, numbers = _number_sources(accepted)
    workspace_ids, provider_ids, trace_ids, owners = columns(sources)
    return Statement.bound(
        "append_events",
        device_id=[fold.device_id for fold, _, _ in accepted],
        sequence=[event.sequence for _, event, _ in accepted],
        received_at=[event.update.received_at for _, event, _ in accepted],
        readings=[dump_readings(event.readings) for _, event, _ in accepted],
        later_assignment=nullable([_later_assignment(fold) for fold, _, _ in accepted]),
        reception_at=nullable([event.update.reception_at for _, event, _ in accepted]),
        source=numbers,
        workspace_id=workspace_ids,
        provider_id=provider_ids,
        trace_id=trace_ids,
        resource=nullable([owner and owner.resource for owner in owners]),
        token=nullable([owner and owner.token for owner in owners]),
        shard_id=session.shard_id,
        epoch=session.epoch,
    )


def _number_sources(accepted: Sequence[Accepted]) -> tuple[list[Source], list[int]]:
    """Return the sources of the events, and of each event the number of its source, from 1.

    Events of one submission mostly have one source, which is sent once.
    """
    known: dict[Source, int] = {}
    numbers = []
    last, number = None, 0
    for fold, event, owner in accepted:
        update = event.update
        source = (fold.workspace_id, update.provider_id, update.trace_id, owner)
        if source != last:  # quicker than to hash it for each event
            last, number = source, known.setdefault(source, len(known) + 1)
        numbers.append(number)
    return list(known), numbers


def _later_assignment(fold: DeviceFold) -> int | None:
    """Return the assignment; None for the first one, which is that of almost every device."""
    return None if fold.assignment == 1 else fold.assignment
