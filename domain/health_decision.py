"""The decision for one reason: which of the causes explains the state of a device.

A recent answer about the device decides between the connection and the device. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.health_answer import has_legacy_answer, has_recent_answer
from domain.health_causes import find_causes
from domain.health_reason import CONNECTION_REASONS, Cause, HealthReason, Party, cause
from domain.health_state import State

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from datetime import datetime

    from domain.health_causes import SharedCauses
    from domain.health_facts import HealthFacts
    from domain.thresholds import Thresholds


def decide_fresh(
    facts: HealthFacts, thresholds: Thresholds, silent_signals: Sequence[str]
) -> Cause:
    """Return the reason of a fresh device.

    Data that was older than the delayed threshold when it came is the provider's delay only if the
    provider is proven to have held it back for so long. Else the party is not known.
    """
    limit, lag = thresholds.delayed_after_seconds, facts.lag_seconds
    if lag is not None and lag > limit:
        held_back = facts.held_back_seconds
        is_proven = held_back is not None and held_back > limit
        party = Party.PROVIDER if is_proven else Party.UNKNOWN
        return Cause(HealthReason.PROVIDER_DELAY, party, facts.last_observed_at)
    if silent_signals:
        return cause(HealthReason.SIGNAL_SILENT, detail=", ".join(silent_signals))
    return cause(HealthReason.REPORTING)


def decide_late(
    facts: HealthFacts, state: State, thresholds: Thresholds, shared: SharedCauses, now: datetime
) -> tuple[Cause, tuple[Cause, ...]]:
    """Return the reason of a device that is not fresh, and all causes that hold now.

    `shared` are those that it has together with others. No cause is known of what the legacy system
    collects: ours are about our own collecting.
    """
    if facts.is_of_legacy:
        is_answered = has_legacy_answer(facts, thresholds, now)
        return _decide_silence(state, is_answered=is_answered), ()
    causes = find_causes(facts, thresholds, shared, now)
    reasons = {each.reason for each in causes}
    is_answered = _is_answered(facts, thresholds, shared.gap_at, reasons, now)
    # A statement that leaves the device out is an answer of the provider, too.
    is_stated = is_answered or HealthReason.UNKNOWN_TO_PROVIDER in reasons
    for each in causes:
        if not (is_stated and each.reason in CONNECTION_REASONS):
            return each, causes
    return _decide_silence(state, is_answered=is_answered), causes


def _is_answered(
    facts: HealthFacts,
    thresholds: Thresholds,
    gap_at: datetime | None,
    reasons: Container[HealthReason],
    now: datetime,
) -> bool:
    """Return whether there is a recent answer about the device.

    Where no calls are made, one from before a gap of ours says nothing about the time since.
    """
    if facts.is_asked:
        return has_recent_answer(facts, thresholds, None, now)
    if HealthReason.COLLECTOR_LATE in reasons:
        return False
    return has_recent_answer(facts, thresholds, gap_at, now)


def _decide_silence(state: State, *, is_answered: bool) -> Cause:
    """Return the reason where no cause decides. Only a recent answer blames the device."""
    if state is State.AWAITING_FIRST_DATA:
        return cause(HealthReason.AWAITING_FIRST_DATA)
    if not is_answered:
        return cause(HealthReason.NO_ANSWER_YET)
    if state is State.CONFIGURED_NO_DATA:
        return cause(HealthReason.NEVER_REPORTED)
    return cause(HealthReason.DEVICE_SILENT)
