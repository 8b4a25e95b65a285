"""Health: derive a state, a reason and the evidence from stored facts at request time (FR-012).

This module owns the verdict and the ages of values. Its parts stand beside it: the limits in
thresholds.py, the state in health_state.py, the reason in health_reason.py, and the facts that
storage brings in health_facts.py. Nothing here is stored, and nothing reads a clock.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from domain.health_facts import age_seconds
from domain.health_reason import find_reason
from domain.health_state import State, cutoffs, state_of
from domain.held import to_micros
from domain.schedule import next_start
from domain.signals import CATALOGUE
from domain.thresholds import DEFAULT_STALE_AFTER_SECONDS, STALE_PERIODS, resolve_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.health_facts import HealthFacts
    from domain.health_reason import HealthReason
    from domain.held import Held
    from domain.model import Workspace
    from domain.thresholds import Thresholds

UNCATALOGUED_OLD_AFTER_SECONDS = 3600.0


class SignalAge(NamedTuple):
    """One stored value with its age, and whether it is too old to go by."""

    signal: str
    held: Held
    age_seconds: float
    mark: str  # "current" | "old"


class Verdict(NamedTuple):
    """The answer about one device at one instant: state, reason, ages, limits and evidence."""

    state: State
    reason: HealthReason
    freshness_age_seconds: float | None
    provider_lag_seconds: float | None
    signals: tuple[SignalAge, ...]
    old_signals: tuple[str, ...]
    thresholds: Thresholds
    grace_exceeded_at: datetime | None
    evidence: Mapping[str, Any]


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
        reason=find_reason(facts, state, thresholds, old_signals, now),
        freshness_age_seconds=None if received_at is None else age_seconds(received_at, now),
        provider_lag_seconds=facts.lag_seconds,
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
    document: Mapping[str, Held],
    workspace: Workspace,
    thresholds: Thresholds,
    now: datetime,
) -> tuple[SignalAge, ...]:
    """Return each value with its own age, in name order. A value at its limit is current.

    The age counts from the earlier of the stated time and our receipt.
    """
    scale = min(1.0, workspace.policy.stale_after_seconds / DEFAULT_STALE_AFTER_SECONDS)
    ages = []
    moment = to_micros(now)
    for signal, held in sorted(document.items()):
        age = max(0, moment - held.observed) / 1e6
        mark = "old" if age > _old_after(signal, scale, thresholds) else "current"
        ages.append(SignalAge(signal, held, age, mark))
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
        base,
        STALE_PERIODS * (thresholds.expected_update_seconds or 0.0),
        thresholds.delayed_after_seconds,
    )


def _gather_evidence(facts: HealthFacts, now: datetime) -> Mapping[str, Any]:
    """Return the facts that a person checks next. Instants stay datetimes; the API formats them."""
    workspace, record, collector = facts.workspace, facts.connection_record, facts.collector
    error = None
    if record.last_failure_at is not None:
        error = {
            "class": None if record.fault is None else str(record.fault),
            "detail": record.fault_detail,
            "at": record.last_failure_at,
            "failing_since": record.failing_since,
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
        "stream_status": record.stream_status,
        "last_error": error,
        "last_rejected_at": facts.last_rejected_at,
        "last_rejection_reason": facts.last_rejection_reason,
    }


def _find_next_poll(workspace: Workspace, now: datetime) -> datetime | None:
    if not workspace.active or workspace.ordinal is None:
        return None
    interval = workspace.poll_interval_seconds
    return next_start(now, workspace.workspace_id, workspace.ordinal, interval).start_at
