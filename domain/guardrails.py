"""Guardrails: when a workspace that reads core must go back to the legacy system.

Owns the three limits and whether crossing one acts or only alerts. Pure. A rollback to a legacy
system that does not answer would turn every read into an error, so then a guardrail only alerts.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from domain.cutover import ReadOwner
from domain.cycles import CycleOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.cutover import Cutover
    from domain.parity import ParityCounts

PERCENTILE = 0.95
LASTING_COMPARISONS = 3


class GuardrailSettings(NamedTuple):
    """The guardrails of a workspace: settings, with the defaults of the specification."""

    cycles: int = 12
    min_completed_cycles: float = 10.0
    max_age_seconds: float = 600.0
    max_age_above_legacy_seconds: float = 300.0
    max_mismatch_share: float = 0.05
    legacy_answered_within_seconds: float = 60.0
    quiet_after_rollback_seconds: float = 3600.0


class EndedCycle(NamedTuple):
    """How one cycle of the schedule ended. `share` is that of the connections that answered."""

    outcome: CycleOutcome
    share: float = 0.0

    @property
    def completed(self) -> float | None:
        """Return how much of a completed cycle it was, 0 to 1; None if there was nothing to do."""
        if self.outcome is CycleOutcome.SKIPPED:
            return None
        if self.outcome is CycleOutcome.COMPLETED:
            return 1.0
        return self.share if self.outcome is CycleOutcome.PARTIAL else 0.0


class DeviceAge(NamedTuple):
    """The freshness age of one device that both systems heard, in seconds.

    `delayed_after` is the limit that applies to it here. Devices whose silence is expected are left
    out by the caller.
    """

    core: float
    legacy: float
    delayed_after: float


class Sight(NamedTuple):
    """What the guardrails look at, at one moment."""

    cutover: Cutover
    newest_first: Sequence[EndedCycle]
    ages: Sequence[DeviceAge]
    mismatch_share: float | None  # that lasts; None: incomparable
    legacy_answered_at: datetime | None
    rolled_back_at: datetime | None  # the newest automatic rollback
    has_legacy: bool = True


class Guardrail(StrEnum):
    CYCLES = "cycles"
    FRESHNESS = "freshness"
    PARITY = "parity"


class Crossing(NamedTuple):
    """A limit that was crossed, with the number that crossed it and the limit."""

    guardrail: Guardrail
    measured: float
    limit: float
    detail: str


class Judgement(NamedTuple):
    """What the guardrails say: nothing crossed, an alert, or a rollback.

    `why_not` says why a crossing only alerts; None where it acts or nothing was crossed.
    """

    crossings: tuple[Crossing, ...]
    acts: bool
    why_not: str | None = None


def judge(sight: Sight, limits: GuardrailSettings, now: datetime) -> Judgement:
    """Return what the guardrails say now. They watch only while core is read."""
    if sight.cutover.read_owner is not ReadOwner.CORE:
        return Judgement((), acts=False)
    found = (
        _judge_cycles(sight.newest_first, limits),
        None if _has_failed_once(sight.newest_first) else _judge_freshness(sight.ages, limits),
        _judge_parity(sight, limits),
    )
    crossings = tuple(one for one in found if one is not None)
    if not crossings:
        return Judgement((), acts=False)
    why_not = _why_not(sight, limits, now)
    return Judgement(crossings, acts=why_not is None, why_not=why_not)


def find_lasting_mismatch(
    newest_first: Sequence[ParityCounts], min_comparable_share: float
) -> float | None:
    """Return the mismatch that the newest three comparisons have in common: the least of theirs.

    One cycle that failed makes core older than the legacy system once; that is no reason to go
    back. Comparisons in which too few devices were comparable are left out. None if there are
    fewer than three.
    """
    shares = [
        counts.mismatch_share
        for counts in newest_first
        if counts.mismatch_share is not None and counts.comparable_share >= min_comparable_share
    ]
    newest = shares[:LASTING_COMPARISONS]
    return min(newest) if len(newest) == LASTING_COMPARISONS else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of the values does not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _judge_cycles(newest_first: Sequence[EndedCycle], limits: GuardrailSettings) -> Crossing | None:
    """A workspace with fewer cycles than are looked at is not judged: one failure proves little."""
    parts = [part for end in newest_first if (part := end.completed) is not None]
    judged = parts[: limits.cycles]
    completed = sum(judged)
    if len(judged) < limits.cycles or completed >= limits.min_completed_cycles:
        return None
    detail = f"{completed:g} of the last {limits.cycles} cycles completed"
    return Crossing(Guardrail.CYCLES, completed, limits.min_completed_cycles, detail)


def _has_failed_once(newest_first: Sequence[EndedCycle]) -> bool:
    """Return whether the newest cycle failed and the one before, if there is one, did not.

    Right after one failed cycle the values are older than they ought to be. The next cycle tells
    whether that lasts.
    """
    parts = [part for end in newest_first if (part := end.completed) is not None][:2]
    return parts[:1] != [] and parts[0] < 1 and parts[1:] in ([], [1.0])


def _judge_freshness(ages: Sequence[DeviceAge], limits: GuardrailSettings) -> Crossing | None:
    """Core's 95th percentile must be too old by itself, and older than legacy's by the margin.

    The first is judged device by device, because a device that reports every hour has limits of its
    own.
    """
    excess = percentile(
        [age.core - max(limits.max_age_seconds, age.delayed_after) for age in ages], PERCENTILE
    )
    core = percentile([age.core for age in ages], PERCENTILE)
    legacy = percentile([age.legacy for age in ages], PERCENTILE)
    if excess is None or core is None or legacy is None or excess <= 0:
        return None
    if core <= legacy + limits.max_age_above_legacy_seconds:
        return None
    detail = f"95 % of the devices are at most {core:.0f} s old here, {legacy:.0f} s there"
    return Crossing(Guardrail.FRESHNESS, core, core - excess, detail)


def _judge_parity(sight: Sight, limits: GuardrailSettings) -> Crossing | None:
    """Only while both collect: otherwise the legacy system's values grow old by themselves."""
    share = sight.mismatch_share
    if not sight.cutover.is_compared or share is None or share <= limits.max_mismatch_share:
        return None
    detail = f"{share:.1%} of the comparable devices mismatch"
    return Crossing(Guardrail.PARITY, share, limits.max_mismatch_share, detail)


def _why_not(sight: Sight, limits: GuardrailSettings, now: datetime) -> str | None:
    """Return why a crossing must not act; None if it may."""
    if not sight.has_legacy:
        return "no legacy system is configured, so there is nothing to go back to"
    if not _is_within(sight.legacy_answered_at, limits.legacy_answered_within_seconds, now):
        return (
            "the legacy system did not answer within the last "
            f"{limits.legacy_answered_within_seconds:.0f} s, so reads would fail after a rollback"
        )
    if _is_within(sight.rolled_back_at, limits.quiet_after_rollback_seconds, now):
        return (
            "a guardrail rolled back within the last "
            f"{limits.quiet_after_rollback_seconds:.0f} s; a person decides about the next time"
        )
    return None


def _is_within(instant: datetime | None, seconds: float, now: datetime) -> bool:
    return instant is not None and (now - instant).total_seconds() <= seconds
