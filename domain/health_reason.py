"""The reason for a device's state: the first cause that is found.

Ours are looked for first, then the provider's, then the device's.
Pure, from stored facts alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from domain.health_facts import age_seconds
from domain.health_state import State
from domain.model import FaultClass

if TYPE_CHECKING:
    from datetime import datetime

    from domain.health_facts import ConnectionRecord, HealthFacts
    from domain.thresholds import Thresholds

MAX_WAITING_SECONDS = 30.0
CYCLE_TOLERANCE = 1.2
CYCLE_TOLERANCE_SECONDS = 5.0


class HealthReason(StrEnum):
    """The reason for a state, and so whose fault it is. In the order in which the rule checks."""

    REPORTING = "reporting"
    SIGNAL_SILENT = "signal_silent"
    COLLECTOR_LATE = "collector_late"
    INGEST_BACKLOG = "ingest_backlog"
    CREDENTIALS_REJECTED = "credentials_rejected"
    QUOTA_EXHAUSTED = "quota_exhausted"
    STREAM_DISCONNECTED = "stream_disconnected"
    PROVIDER_OUTAGE = "provider_outage"
    UPDATES_REJECTED = "updates_rejected"
    PROVIDER_DELAY = "provider_delay"
    AWAITING_FIRST_DATA = "awaiting_first_data"
    NEVER_REPORTED = "never_reported"
    DEVICE_SILENT = "device_silent"


def find_reason(
    facts: HealthFacts,
    state: State,
    thresholds: Thresholds,
    old_signals: tuple[str, ...],
    now: datetime,
) -> HealthReason:
    """Return the first matching reason: our side, then the provider's, then the device's."""
    if state is State.HEALTHY:
        return HealthReason.SIGNAL_SILENT if old_signals else HealthReason.REPORTING
    return (
        _find_own_fault(facts, now)
        or _find_connection_fault(facts)
        or _find_data_fault(facts, state, thresholds, now)
        or _find_kind_of_silence(state)
    )


def _find_own_fault(facts: HealthFacts, now: datetime) -> HealthReason | None:
    """Return `collector_late` or `ingest_backlog` if our own side is at fault, else None.

    `collector_late`: an owner's heartbeat expired, or no cycle started for 1.2 intervals and 5 s,
    or the connection was switched off here. The time counts from the last start (without one, from
    the device's activation) or from when the workspace took its place in the schedule, whichever is
    later: an activation or a change of the interval does not make a workspace late.

    `ingest_backlog`: data was collected but has waited more than 30 s to be written.
    """
    workspace, collector = facts.workspace, facts.collector
    if workspace.active:
        limit = workspace.poll_interval_seconds * CYCLE_TOLERANCE + CYCLE_TOLERANCE_SECONDS
        last_start_at = collector.last_cycle_started_at or facts.device.activated_at
        running_since = max(last_start_at, workspace.scheduled_since or last_start_at)
        overdue = age_seconds(running_since, now) > limit
        gone = collector.owner_expires_at is not None and collector.owner_expires_at < now
        if overdue or gone or not facts.connection.active:
            return HealthReason.COLLECTOR_LATE
    if (
        collector.oldest_waiting_seconds is not None
        and collector.oldest_waiting_seconds > MAX_WAITING_SECONDS
    ):
        return HealthReason.INGEST_BACKLOG
    return None


def _find_connection_fault(facts: HealthFacts) -> HealthReason | None:
    """Return the reason if the connection to the provider is at fault, else None.

    As of the last call and the last socket: credentials refused, quota exhausted, stream
    disconnected, or failed.
    """
    failed = facts.connection_record.call_status == "failed"
    faults = {facts.connection_record.stream_fault}
    if failed:
        faults.add(facts.connection_record.fault)
    if FaultClass.CREDENTIALS in faults:
        return HealthReason.CREDENTIALS_REJECTED
    if FaultClass.QUOTA in faults:
        return HealthReason.QUOTA_EXHAUSTED
    if facts.connection.transport == "stream" and _is_disconnected(facts.connection_record):
        return HealthReason.STREAM_DISCONNECTED
    return HealthReason.PROVIDER_OUTAGE if failed else None


def _is_disconnected(record: ConnectionRecord) -> bool:
    """Return whether the stream is closed, or never opened although a call was made.

    A new connection without any call does not count: it needs a moment to open.
    """
    return record.stream_status == "closed" or (
        record.stream_status is None and record.call_status is not None
    )


def _find_data_fault(
    facts: HealthFacts, state: State, thresholds: Thresholds, now: datetime
) -> HealthReason | None:
    """Return the reason if data arrives that does not make the device fresh, else None.

    `updates_rejected`: the newest data of the device was rejected, no longer ago than the stale
    threshold. `provider_delay`: the last accepted data was already older than the delayed threshold
    when it reached us. Only a delayed device gets this reason, since past the stale threshold
    nothing arrives any more.
    """
    received_at, rejected_at = facts.last_update_received_at, facts.last_rejected_at
    if (
        rejected_at is not None
        and (received_at is None or rejected_at > received_at)
        and age_seconds(rejected_at, now) <= thresholds.stale_after_seconds
    ):
        return HealthReason.UPDATES_REJECTED
    lag = facts.lag_seconds
    if state is State.DELAYED and lag is not None and lag > thresholds.delayed_after_seconds:
        return HealthReason.PROVIDER_DELAY
    return None


def _find_kind_of_silence(state: State) -> HealthReason:
    if state is State.AWAITING_FIRST_DATA:
        return HealthReason.AWAITING_FIRST_DATA
    if state is State.CONFIGURED_NO_DATA:
        return HealthReason.NEVER_REPORTED
    return HealthReason.DEVICE_SILENT
