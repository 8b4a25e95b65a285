"""Health: derive a state, a reason and the evidence from stored facts at request time (FR-012).

This module owns the verdict. Its parts stand beside it, in the order in which they are used: the
facts that storage brings (health_facts.py), the limits (thresholds.py), the state
(health_state.py), the ages of values (health_signals.py), answers about the device
(health_answer.py), the gaps of our own side (health_gaps.py), the causes that hold
(health_causes.py), the decision for one of them (health_decision.py, with the words in
health_reason.py) and the evidence (health_evidence.py).
Nothing here is stored, and nothing reads a clock. docs/health.md explains the rule.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from domain.health_causes import find_shared_causes
from domain.health_decision import decide_fresh, decide_late
from domain.health_evidence import gather_evidence, gather_shared_evidence
from domain.health_facts import age_seconds
from domain.health_gaps import find_last_start
from domain.health_signals import SignalRules, find_silent_signals
from domain.health_state import State, cutoffs, state_of
from domain.thresholds import resolve_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.health_causes import SharedCauses
    from domain.health_evidence import SharedEvidence
    from domain.health_facts import HealthFacts
    from domain.health_reason import Cause, HealthReason, Party
    from domain.health_state import Cutoffs
    from domain.model import PolicyOverride
    from domain.thresholds import Thresholds


class Verdict(NamedTuple):
    """The answer about one device at one instant: state, reason, ages, limits and evidence.

    `causes` are all causes that hold now, in the order of the rule; empty for a fresh device.
    `old_signals` are the periodic ones only.
    """

    state: State
    reason: HealthReason
    party: Party
    causes: tuple[Cause, ...]
    freshness_age_seconds: float | None
    away_for_seconds: float | None
    provider_lag_seconds: float | None
    old_signals: tuple[str, ...]
    thresholds: Thresholds
    grace_exceeded_at: datetime | None
    evidence: Mapping[str, Any]


class Decision(NamedTuple):
    """State and reason of one device at one instant, without the evidence: see Verdict."""

    state: State
    reason: HealthReason
    party: Party
    causes: tuple[Cause, ...]
    old_signals: tuple[str, ...]
    thresholds: Thresholds


class _Limits(NamedTuple):
    """What the devices of one connection with equal limits share at one instant.

    The device that sent the connection's newest data has its own: the others prove nothing for it.
    `causes` are by what counts as our newest start: until a cycle starts, it may be an activation.
    """

    thresholds: Thresholds
    cutoffs: Cutoffs
    signal_rules: SignalRules
    causes: dict[datetime, SharedCauses]


class Judge:
    """Judges devices at `now`, from stored facts alone. Never raises.

    What devices share is found once and kept: a page has hundreds of them from one connection. So
    all facts must be of one read.
    """

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._limits: dict[tuple[str, str, PolicyOverride, bool, bool], _Limits] = {}
        self._evidence: dict[tuple[str, str], SharedEvidence] = {}

    def judge(self, facts: HealthFacts) -> Verdict:
        """Return state, reason and evidence of one device (FR-012)."""
        decision, now = self.decide(facts), self._now
        received_at = facts.last_update_received_at
        evidence = gather_evidence(facts, decision.causes, self._find_evidence(facts), now)
        thresholds = decision.thresholds
        return Verdict(
            state=decision.state,
            reason=decision.reason,
            party=decision.party,
            causes=decision.causes,
            freshness_age_seconds=None if received_at is None else age_seconds(received_at, now),
            away_for_seconds=evidence["away_for_seconds"],
            provider_lag_seconds=facts.lag_seconds,
            old_signals=decision.old_signals,
            thresholds=thresholds,
            grace_exceeded_at=(
                facts.device.activated_at + timedelta(seconds=thresholds.grace_seconds)
                if decision.state is State.CONFIGURED_NO_DATA
                else None
            ),
            evidence=evidence,
        )

    def find_state(self, facts: HealthFacts) -> State:
        """Return the state of one device: the verdict without its reason."""
        limits = self._find_limits(facts).cutoffs
        return state_of(facts.last_update_received_at, facts.device.activated_at, limits)

    def decide(self, facts: HealthFacts) -> Decision:
        """Return state and reason of one device: the verdict without its evidence."""
        limits, now = self._find_limits(facts), self._now
        state = state_of(facts.last_update_received_at, facts.device.activated_at, limits.cutoffs)
        silent_signals = find_silent_signals(facts.document, limits.signal_rules, now)
        causes: tuple[Cause, ...] = ()
        if state is State.HEALTHY:
            decided = decide_fresh(facts, limits.thresholds, silent_signals)
        else:
            shared = self._find_causes(facts, limits)
            decided, causes = decide_late(facts, state, limits.thresholds, shared, now)
        return Decision(
            state, decided.reason, decided.party, causes, silent_signals, limits.thresholds
        )

    def _find_limits(self, facts: HealthFacts) -> _Limits:
        device = facts.device
        on_calls = facts.lives_on_calls
        is_newest = facts.connection_record.data_device_id == device.device_id
        key = (device.workspace_id, device.provider_id, device.override, on_calls, is_newest)
        limits = self._limits.get(key)
        if limits is None:
            thresholds = resolve_thresholds(
                facts.workspace, facts.connection, device, lives_on_calls=on_calls
            )
            limits = self._limits[key] = _Limits(
                thresholds,
                cutoffs(thresholds, self._now),
                SignalRules(facts.workspace, thresholds),
                {},
            )
        return limits

    def _find_causes(self, facts: HealthFacts, limits: _Limits) -> SharedCauses:
        last_start_at = find_last_start(facts)
        causes = limits.causes.get(last_start_at)
        if causes is None:
            causes = find_shared_causes(facts, limits.thresholds, self._now)
            limits.causes[last_start_at] = causes
        return causes

    def _find_evidence(self, facts: HealthFacts) -> SharedEvidence:
        key = (facts.device.workspace_id, facts.device.provider_id)
        evidence = self._evidence.get(key)
        if evidence is None:
            evidence = self._evidence[key] = gather_shared_evidence(facts, self._now)
        return evidence


def judge_health(facts: HealthFacts, now: datetime) -> Verdict:
    """Return state, reason and evidence of one device at `now` (FR-012): see Judge."""
    return Judge(now).judge(facts)
