"""Health: derive a state, a reason and the evidence from stored facts at request time (FR-012).

This module owns the health rule of the specification: `cutoffs` turns it into instants for SQL,
`judge_health` into a verdict. It stores nothing and reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from domain.model import NO_OVERRIDE, FaultClass, Policy
from domain.schedule import next_start
from domain.signals import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.model import Device, ProviderConnection, Value, Workspace


class State(StrEnum):
    """The health states. Every active device has exactly one (FR-006)."""

    HEALTHY = "healthy"
    DELAYED = "delayed"
    STALE = "stale"
    CONFIGURED_NO_DATA = "configured-no-data"
    AWAITING_FIRST_DATA = "awaiting-first-data"


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


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """connection_state as stored. All fields are None before the connection's first call."""

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
    """The stored facts about our own side, for one workspace."""

    last_good_cycle_at: datetime | None = None  # end of the newest completed or partial cycle
    last_cycle_started_at: datetime | None = None
    last_cycle_outcome: str | None = None
    owner: str | None = None  # the shard that holds the workspace's lease; None if it is free
    owner_expires_at: datetime | None = None  # when that session's heartbeat expires
    oldest_waiting_seconds: float | None = None  # from that heartbeat's statistics


class HealthFacts(NamedTuple):
    """Everything stored that the verdict on one device may use."""

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
    """The limits that applied to one device, in seconds of age. `source` is their origin."""

    freshness_target_seconds: float
    delayed_after_seconds: float
    stale_after_seconds: float
    grace_seconds: float
    expected_update_seconds: float | None
    source: str  # "workspace" | "provider" | "device" | "expected_update_seconds"


class Cutoffs(NamedTuple):
    """The same limits as instants. A time strictly before the instant is over the limit."""

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


DEFAULT_STALE_AFTER_SECONDS = Policy().stale_after_seconds
MAX_WAITING_SECONDS = 30.0
CYCLE_TOLERANCE = 1.2
CYCLE_TOLERANCE_SECONDS = 5.0
UNCATALOGUED_OLD_AFTER_SECONDS = 3600.0


# --- Thresholds and the state ---------------------------------------------------------------------


def resolve_thresholds(
    workspace: Workspace, connection: ProviderConnection, device: Device
) -> Thresholds:
    """Return the limits for one device, each from the nearest place that sets it.

    The order is device, provider connection, workspace. For a connection that by contract reports
    rarely, the limits are at least 1.2 times (delayed) and 3 times (stale, grace) its period. Stale
    is never below delayed: relaxing only the delayed limit relaxes both. `source` names the nearest
    place that supplied any of the three, or the period if it raised any.
    """
    near, middle, policy = device.override, connection.override, workspace.policy
    delayed = _nearest(
        near.delayed_after_seconds, middle.delayed_after_seconds, policy.delayed_after_seconds
    )
    stale = _nearest(
        near.stale_after_seconds, middle.stale_after_seconds, policy.stale_after_seconds
    )
    grace = _nearest(near.grace_seconds, middle.grace_seconds, policy.grace_seconds)
    source = (
        "device" if near != NO_OVERRIDE else "provider" if middle != NO_OVERRIDE else "workspace"
    )
    expected = connection.expected_update_seconds
    if expected is not None:
        raised = (
            max(delayed, 1.2 * expected),
            max(stale, 3.0 * expected),
            max(grace, 3.0 * expected),
        )
        if raised != (delayed, stale, grace):
            source = "expected_update_seconds"
        delayed, stale, grace = raised
    return Thresholds(
        policy.freshness_target_seconds, delayed, max(delayed, stale), grace, expected, source
    )


def cutoffs(thresholds: Thresholds, now: datetime) -> Cutoffs:
    """Return the thresholds as instants at `now`.

    Over the limit means strictly before the instant, here and in SQL.
    """
    return Cutoffs(
        now - timedelta(seconds=thresholds.delayed_after_seconds),
        now - timedelta(seconds=thresholds.stale_after_seconds),
        now - timedelta(seconds=thresholds.grace_seconds),
    )


def state_of(
    last_update_received_at: datetime | None, activated_at: datetime, limits: Cutoffs
) -> State:
    """Return the state of a device (FR-006).

    SQL filters and counts devices by the same comparisons.
    """
    if last_update_received_at is None:
        return (
            State.CONFIGURED_NO_DATA
            if activated_at < limits.grace_before
            else State.AWAITING_FIRST_DATA
        )
    if last_update_received_at < limits.stale_before:
        return State.STALE
    if last_update_received_at < limits.delayed_before:
        return State.DELAYED
    return State.HEALTHY


def _nearest(near: float | None, middle: float | None, far: float) -> float:
    return near if near is not None else middle if middle is not None else far


# --- The verdict ----------------------------------------------------------------------------------


def judge_health(facts: HealthFacts, now: datetime) -> Verdict:
    """Return state, reason and evidence of one device at `now`, from stored facts alone (FR-012).

    Never raises.
    """
    thresholds = resolve_thresholds(facts.workspace, facts.connection, facts.device)
    received_at = facts.last_update_received_at
    state = state_of(received_at, facts.device.activated_at, cutoffs(thresholds, now))
    signals = age_signals(facts.document, facts.workspace, thresholds, now)
    old_signals = tuple(item.signal for item in signals if item.mark == "old")
    return Verdict(
        state=state,
        reason=_find_reason(facts, state, thresholds, old_signals, now),
        freshness_age_seconds=None if received_at is None else _age(received_at, now),
        provider_lag_seconds=_find_lag(facts),
        signals=signals,
        old_signals=old_signals,
        thresholds=thresholds,
        grace_exceeded_at=(
            facts.device.activated_at + timedelta(seconds=thresholds.grace_seconds)
            if state is State.CONFIGURED_NO_DATA
            else None
        ),
        evidence=_gather_evidence(facts, now),
    )


def age_signals(
    document: Mapping[str, tuple[Value, datetime]],
    workspace: Workspace,
    thresholds: Thresholds,
    now: datetime,
) -> tuple[SignalAge, ...]:
    """Return each value with its own age, in name order. A value at its limit is current."""
    scale = min(1.0, workspace.policy.stale_after_seconds / DEFAULT_STALE_AFTER_SECONDS)
    ages = []
    for signal, (value, observed_at) in sorted(document.items()):
        age = _age(observed_at, now)
        mark = "old" if age > _old_after(signal, scale, thresholds) else "current"
        ages.append(SignalAge(signal, value, observed_at, age, mark))
    return tuple(ages)


def _old_after(signal: str, scale: float, thresholds: Thresholds) -> float:
    """Return the age in seconds above which a value is old.

    The catalogue's age is shortened in proportion if the workspace's stale threshold is below the
    default (so that a demonstration can show it). The result is at least three periods of a
    connection that reports rarely, and at least the device's delayed threshold: a value must not be
    old while the device is on time.
    """
    entry = CATALOGUE.get(signal)
    base = (entry.old_after_seconds if entry else UNCATALOGUED_OLD_AFTER_SECONDS) * scale
    return max(
        base, 3.0 * (thresholds.expected_update_seconds or 0.0), thresholds.delayed_after_seconds
    )


def _find_reason(
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
        _blame_ourselves(facts, now)
        or _blame_connection(facts)
        or _blame_data(facts, state, thresholds, now)
        or _name_silence(state)
    )


def _blame_ourselves(facts: HealthFacts, now: datetime) -> HealthReason | None:
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
        overdue = _age(running_since, now) > limit
        gone = collector.owner_expires_at is not None and collector.owner_expires_at < now
        if overdue or gone or not facts.connection.active:
            return HealthReason.COLLECTOR_LATE
    if (
        collector.oldest_waiting_seconds is not None
        and collector.oldest_waiting_seconds > MAX_WAITING_SECONDS
    ):
        return HealthReason.INGEST_BACKLOG
    return None


def _blame_connection(facts: HealthFacts) -> HealthReason | None:
    """Return the reason if the connection to the provider is at fault, else None.

    As of the last call: credentials refused, quota exhausted, stream disconnected, or failed.
    """
    failed = facts.link.call_status == "failed"
    if failed and facts.link.fault == FaultClass.CREDENTIALS:
        return HealthReason.CREDENTIALS_REJECTED
    if failed and facts.link.fault == FaultClass.QUOTA:
        return HealthReason.QUOTA_EXHAUSTED
    if facts.connection.transport == "stream" and _is_disconnected(facts.link):
        return HealthReason.STREAM_DISCONNECTED
    return HealthReason.PROVIDER_OUTAGE if failed else None


def _is_disconnected(link: ConnectionRecord) -> bool:
    """Return whether the stream is closed, or never opened although a call was made.

    A new connection without any call does not count: it needs a moment to open.
    """
    return link.stream_status == "closed" or (
        link.stream_status is None and link.call_status is not None
    )


def _blame_data(
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
        and _age(rejected_at, now) <= thresholds.stale_after_seconds
    ):
        return HealthReason.UPDATES_REJECTED
    lag = _find_lag(facts)
    if state is State.DELAYED and lag is not None and lag > thresholds.delayed_after_seconds:
        return HealthReason.PROVIDER_DELAY
    return None


def _name_silence(state: State) -> HealthReason:
    if state is State.AWAITING_FIRST_DATA:
        return HealthReason.AWAITING_FIRST_DATA
    if state is State.CONFIGURED_NO_DATA:
        return HealthReason.NEVER_REPORTED
    return HealthReason.DEVICE_SILENT


def _find_lag(facts: HealthFacts) -> float | None:
    """Return receipt minus observation of the newest data, in seconds.

    Negative if the provider's clock is ahead of ours.
    """
    if facts.last_update_received_at is None or facts.last_observed_at is None:
        return None
    return (facts.last_update_received_at - facts.last_observed_at).total_seconds()


def _gather_evidence(facts: HealthFacts, now: datetime) -> Mapping[str, Any]:
    """Return the facts that a person checks next. Instants stay datetimes; the API formats them."""
    workspace, link, collector = facts.workspace, facts.link, facts.collector
    error = None
    if link.last_failure_at is not None:
        error = {
            "class": None if link.fault is None else str(link.fault),
            "detail": link.fault_detail,
            "at": link.last_failure_at,
            "failing_since": link.failing_since,
        }
    return {
        "last_good_cycle_at": collector.last_good_cycle_at,
        "last_cycle_started_at": collector.last_cycle_started_at,
        "last_cycle_outcome": collector.last_cycle_outcome,
        "owner": collector.owner,
        "owner_expires_at": collector.owner_expires_at,
        "oldest_waiting_seconds": collector.oldest_waiting_seconds,
        "next_poll_at": _find_next_poll(workspace, now),
        "provider_answered_at": facts.last_confirmed_at,
        "connection_active": facts.connection.active,
        "stream_status": link.stream_status,
        "last_error": error,
        "last_rejected_at": facts.last_rejected_at,
        "last_rejection_reason": facts.last_rejection_reason,
    }


def _find_next_poll(workspace: Workspace, now: datetime) -> datetime | None:
    if not workspace.active or workspace.ordinal is None:
        return None
    interval = workspace.poll_interval_seconds
    return next_start(now, workspace.workspace_id, workspace.ordinal, interval).start_at


def _age(instant: datetime, now: datetime) -> float:
    """Return the seconds since the instant, never negative.

    A receipt stamped a moment after `now` counts as new.
    """
    return max(0.0, (now - instant).total_seconds())
