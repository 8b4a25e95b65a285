"""The columns of the rows that the unit's statements return and take, by name.

A row arrives as a tuple in the order of its statement's columns; these types give it names.
tests/storage/test_unit_rows.py compares them with what PostgreSQL describes, and with the twin. A
row that a statement takes has the names of the statement's parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class ResolvedDevice(NamedTuple):
    """One row of resolve_external_ids. The external id has the spelling that was asked for."""

    workspace_id: str
    provider_id: str
    external_id: str
    device_id: str


class LockedDevice(NamedTuple):
    """One row of lock_devices.

    `document` is None if the unit only has statements about the device. `statements_count_from` is
    when its present assignment was entered, and None in a unit without statements.
    """

    workspace_id: str
    device_id: str
    provider_id: str
    external_id: str
    ids_are_vins: bool
    vehicle_id: str
    active: bool
    registered_assignment: int
    other_spans: str | None
    assignment: int
    entered_at: datetime | None
    statements_count_from: datetime | None
    version: int
    snapshot_version: int
    document: str | None
    last_update_received_at: datetime | None
    last_observed_at: datetime | None
    last_changed_at: datetime | None
    last_rejected_at: datetime | None
    last_rejection_reason: str | None
    last_outdated_at: datetime | None
    held_back_seconds: float | None
    unaccepted_reception_at: datetime | None
    statement: str | None
    statement_begun_at: datetime | None
    statement_at: datetime | None
    statement_detail: str | None


class RereadDevice(NamedTuple):
    """One row of reread_devices."""

    workspace_id: str
    device_id: str
    version: int
    document: str
    provider_id: str
    external_id: str
    ids_are_vins: bool
    vehicle_id: str
    active: bool
    registered_assignment: int
    other_spans: str | None


class ConnectionRow(NamedTuple):
    """One row of connection_state, of lock_connections and for write_connections."""

    workspace_id: str
    provider_id: str
    call_status: str | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    failing_since: datetime | None = None
    fault: str | None = None
    fault_detail: str | None = None
    stream_status: str | None = None
    stream_changed_at: datetime | None = None
    cursor: str | None = None
    cursor_at: datetime | None = None
    call_begun_at: datetime | None = None
    call_ended_at: datetime | None = None
    complete_begun_at: datetime | None = None
    complete_at: datetime | None = None
    roster_begun_at: datetime | None = None
    roster_at: datetime | None = None
    not_asked_at: datetime | None = None
    stream_fault: str | None = None
    stream_fault_detail: str | None = None
    stream_down_since: datetime | None = None
    data_at: datetime | None = None
    data_device_id: str | None = None
    other_data_at: datetime | None = None
    readable_at: datetime | None = None
    unreadable_at: datetime | None = None
    sender_at: datetime | None = None


class LockedRow(NamedTuple):
    """One row of the find_locked_… statements. `name` is the rest of the row's key."""

    workspace_id: str
    name: str
    holder: str


class ConnectionEdgeRow(NamedTuple):
    """One row that append_connection_events takes."""

    workspace_id: str
    provider_id: str
    at: datetime
    kind: str
    fault: str | None
    detail: str | None


class DeviceEdgeRow(NamedTuple):
    """One row that append_device_events takes."""

    workspace_id: str
    device_id: str
    at: datetime
    kind: str
    detail: str | None


class CycleEndRow(NamedTuple):
    """One row that end_cycles takes, beside the session."""

    workspace_id: str
    cycle_id: str
    ended_at: datetime
    outcome: str
    summary: str
    active_devices: int
    fresh_devices: int
    updated_devices: int


class CountedDevices(NamedTuple):
    """One row of count_devices: the active devices of a workspace at this instant."""

    at: datetime
    active: int
    fresh: int
    updated: int


class QuarantineRow(NamedTuple):
    """One row that append_quarantine takes. `is_whole`: the sample is all of the update."""

    workspace_id: str | None
    provider_id: str | None
    device_id: str | None
    external_id: str | None
    reason: str
    detail: str | None
    trace_id: str | None
    sample: bytes
    origin: str
    is_whole: bool
