"""Health: from stored facts to a state, a reason and the evidence for it, at the moment of asking (FR-012).

Owns the health rule of the specification, once: `cutoffs` turns it into instants for SQL, `judge_health` into a verdict.
Stores nothing, reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.model import Device, FaultClass, ProviderConnection, Value, Workspace


class State(StrEnum):
    """Every active device has exactly one (FR-006)."""

    HEALTHY = "healthy"
    DELAYED = "delayed"
    STALE = "stale"
    CONFIGURED_NO_DATA = "configured-no-data"
    AWAITING_FIRST_DATA = "awaiting-first-data"


class HealthReason(StrEnum):
    """Why, and so whose fault it is. In the order in which the rule looks for them."""

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


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """connection_state as stored; all None for a connection nobody has called yet."""

    call_status: str | None = None  # "succeeded" | "failed"
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    failing_since: datetime | None = None
    fault: FaultClass | None = None
    fault_detail: str | None = None
    stream_status: str | None = None  # "open" | "closed"
    stream_changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CollectorRecord:
    """What is known of our own side for one workspace."""

    last_good_cycle_at: datetime | None = None  # end of the newest completed or partial cycle
    last_cycle_started_at: datetime | None = None
    last_cycle_outcome: str | None = None
    owner: str | None = None  # shard of the newest started cycle
    owner_expires_at: datetime | None = None  # that shard's heartbeat
    oldest_waiting_seconds: float | None = None  # from that heartbeat's statistics


class HealthFacts(NamedTuple):
    """Everything stored that the verdict of one device may use."""

    workspace: Workspace
    connection: ProviderConnection
    device: Device
    link: ConnectionRecord
    collector: CollectorRecord
    version: int
    document: Mapping[str, tuple[Value, datetime]]  # signal -> (value, observed_at)
    last_update_received_at: datetime | None
    last_observed_at: datetime | None
    last_changed_at: datetime | None
    last_confirmed_at: datetime | None
    last_rejected_at: datetime | None
    last_rejection_reason: str | None


class Thresholds(NamedTuple):
    """The limits that applied to one device, in seconds of age; `source` says where they come from."""

    freshness_target_seconds: float
    delayed_after_seconds: float
    stale_after_seconds: float
    grace_seconds: float
    expected_update_seconds: float | None
    source: str  # "workspace" | "provider" | "device" | "expected_update_seconds"


class Cutoffs(NamedTuple):
    """The same limits as instants: older than (strictly before) the instant means over the limit."""

    delayed_before: datetime
    stale_before: datetime
    grace_before: datetime


class SignalAge(NamedTuple):
    signal: str
    value: Value
    observed_at: datetime
    age_seconds: float
    mark: str  # "current" | "old"


class Verdict(NamedTuple):
    state: State
    reason: HealthReason
    freshness_age_seconds: float | None
    provider_lag_seconds: float | None
    signals: tuple[SignalAge, ...]
    old_signals: tuple[str, ...]
    thresholds: Thresholds
    grace_exceeded_at: datetime | None
    evidence: Mapping[str, Any]
