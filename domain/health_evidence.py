"""The evidence beside a verdict: the facts that a person checks next.

Instants stay datetimes; the API formats them. What the devices of a connection share is gathered
once for all of them. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from domain.asking import under_flags
from domain.health_answer import due_seconds, find_answers
from domain.health_facts import age_seconds
from domain.look_alikes import LookAlikes
from domain.schedule import next_start, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from domain.health_facts import HealthFacts
    from domain.health_reason import Cause
    from domain.model import FaultClass


class SharedEvidence(NamedTuple):
    """The evidence about our side and the connection, and the unknown ids that arrive over it."""

    shown: Mapping[str, Any]
    look_alikes: LookAlikes


def gather_shared_evidence(facts: HealthFacts, now: datetime) -> SharedEvidence:
    """Return the evidence that all devices of the connection share."""
    provider_id = facts.connection.provider_id
    arriving = [known for of, known in facts.collector.unknown_ids if of == provider_id]
    return SharedEvidence(_show_shared(facts, now), LookAlikes(arriving))


def _show_shared(facts: HealthFacts, now: datetime) -> dict[str, Any]:
    record, collector = facts.connection_record, facts.collector
    return {
        "last_good_cycle_at": collector.last_good_cycle_at,
        "last_cycle_started_at": collector.last_cycle_started_at,
        "last_cycle_outcome": collector.last_cycle_outcome,
        "owner": collector.owner,
        "owner_expires_at": collector.owner_expires_at,
        "collecting_paused": collector.is_paused,
        "oldest_waiting_seconds": collector.oldest_waiting_seconds,
        "next_poll_at": _find_next_poll(facts, now),
        "due_seconds": due_seconds(facts.workspace),
        "last_roster_at": record.roster_at,
        "connection_active": facts.connection.active,
        "stream_status": record.stream_status,
        "stream_down_since": record.stream_down_since,
        "last_sender_at": record.sender_at,
        "last_error": _show_error(
            record.fault, record.fault_detail, record.last_failure_at, record.failing_since
        ),
        "last_stream_error": _show_error(
            record.stream_fault,
            record.stream_fault_detail,
            record.stream_down_since,
            record.stream_down_since,
        ),
    }


def gather_evidence(
    facts: HealthFacts, causes: Iterable[Cause], shared: SharedEvidence, now: datetime
) -> dict[str, Any]:
    """Return the evidence for one verdict: the causes, what is shared, and the device's own."""
    return {
        "causes": [each._asdict() for each in causes],
        **shared.shown,
        "provider_answered_at": find_answered_at(facts),
        "statement": _show_statement(facts),
        "last_update_received_at": facts.last_update_received_at,
        "last_observed_at": facts.last_observed_at,
        "away_for_seconds": find_away_seconds(facts, now),
        "held_back_seconds": facts.held_back_seconds,
        "look_alike_ids": _find_look_alikes(facts, shared.look_alikes),
        "last_rejected_at": facts.last_rejected_at,
        "last_rejection_reason": facts.last_rejection_reason,
        "last_outdated_at": facts.last_outdated_at,
        "refused_signals": dict(facts.refused_signals),
    }


def _find_look_alikes(facts: HealthFacts, arriving: LookAlikes) -> list[str]:
    """Return ids that arrive over the connection and are nearly the id of a device never heard."""
    if facts.last_update_received_at is not None:
        return []
    device = facts.device
    return arriving.find(device.external_id, is_vin=device.ids_are_vins)


def find_answered_at(facts: HealthFacts) -> datetime | None:
    """Return when the provider last answered about the device, with or without news."""
    return max((answer.ended_at for answer in find_answers(facts)), default=None)


def find_away_seconds(facts: HealthFacts, now: datetime) -> float | None:
    """Return for how long the vehicle has been away by its own time; None if it never sent.

    A vehicle whose clock is ahead has been away since the arrival.
    """
    observed_at, received_at = facts.last_observed_at, facts.last_update_received_at
    if observed_at is None:
        return None
    return age_seconds(min(observed_at, received_at or observed_at), now)


def _show_statement(facts: HealthFacts) -> Mapping[str, Any] | None:
    if facts.statement is None:
        return None
    return {
        "kind": facts.statement,
        "asked_at": facts.statement_begun_at,
        "at": facts.statement_at,
        "detail": facts.statement_detail,
    }


def _show_error(
    fault: FaultClass | None, detail: str | None, at: datetime | None, since: datetime | None
) -> Mapping[str, Any] | None:
    if at is None:
        return None
    return {
        "class": None if fault is None else str(fault),
        "detail": detail,
        "at": at,
        "failing_since": since,
    }


def _find_next_poll(facts: HealthFacts, now: datetime) -> datetime | None:
    workspace = facts.workspace
    connection = under_flags(facts.connection, workspace.cutover)
    is_off = facts.is_of_legacy or not (workspace.active and connection.active)
    place = place_of(workspace)
    if is_off or facts.collector.is_paused or place is None:
        return None
    return next_start(now, place).start_at
