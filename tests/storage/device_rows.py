"""Rows of lock_devices and reread_devices, for dialogues with a unit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from storage.unit.rows import LockedDevice, RereadDevice
from tests.storage.fixtures import PROVIDER, WORKSPACE

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def device_row(device_id: str = "bus-1", **rest: Any) -> LockedDevice:
    """Return the row of an active device that never reported, as lock_devices does."""
    return LockedDevice(
        workspace_id=WORKSPACE,
        device_id=device_id,
        provider_id=PROVIDER,
        external_id=f"x-{device_id}",
        ids_are_vins=False,
        vehicle_id=f"vehicle-{device_id}",
        active=True,
        registered_assignment=1,
        other_spans=None,
        assignment=1,
        entered_at=None,
        statements_count_from=NOON,
        version=0,
        snapshot_version=0,
        document="{}",
        last_update_received_at=None,
        last_observed_at=None,
        last_changed_at=None,
        last_rejected_at=None,
        last_rejection_reason=None,
        last_outdated_at=None,
        held_back_seconds=None,
        unaccepted_reception_at=None,
        statement=None,
        statement_begun_at=None,
        statement_at=None,
        statement_detail=None,
    )._replace(**rest)


def reread_row(version: int, document: str, **rest: Any) -> RereadDevice:
    """Return the row of an active device as reread_devices does."""
    return RereadDevice(
        workspace_id=WORKSPACE,
        device_id="bus-1",
        version=version,
        document=document,
        provider_id=PROVIDER,
        external_id="x-bus-1",
        ids_are_vins=False,
        vehicle_id="vehicle-bus-1",
        active=True,
        registered_assignment=1,
        other_spans=None,
    )._replace(**rest)
