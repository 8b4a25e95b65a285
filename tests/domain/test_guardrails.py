"""When a workspace that reads core goes back to the legacy system."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cutover import NEW_CUTOVER, PollOwner, ReadOwner
from domain.cycles import CycleOutcome
from domain.guardrails import (
    DeviceAge,
    EndedCycle,
    Guardrail,
    GuardrailSettings,
    Sight,
    find_lasting_mismatch,
    judge,
    percentile,
)
from domain.parity import ParityCounts, ParityVerdict

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIMITS = GuardrailSettings()
GOOD, BAD = EndedCycle(CycleOutcome.COMPLETED), EndedCycle(CycleOutcome.FAILED)
SHADOW = replace(NEW_CUTOVER, poll_owner=PollOwner.BOTH_SHADOW)
CALM = Sight(
    cutover=SHADOW,
    newest_first=[GOOD] * 12,
    ages=[DeviceAge(60, 60, 360)] * 20,
    mismatch_share=0.0,
    legacy_answered_at=NOW - timedelta(seconds=5),
    rolled_back_at=None,
)


def crossed(sight: Sight) -> list[Guardrail]:
    judgement = judge(sight, LIMITS, NOW)
    assert judgement.acts == bool(judgement.crossings)
    return [one.guardrail for one in judgement.crossings]


def test_a_calm_workspace_stays() -> None:
    assert crossed(CALM) == []


@pytest.mark.parametrize(
    ("newest_first", "rolls_back"),
    [
        ([BAD] + [GOOD] * 11, False),  # one failed cycle of twelve
        ([BAD] * 2 + [GOOD] * 10, False),
        ([BAD] * 3 + [GOOD] * 9, True),
        ([GOOD] * 9 + [BAD] * 3, True),
        ([GOOD] * 12 + [BAD] * 9, False),  # those before are not looked at
        ([EndedCycle(CycleOutcome.PARTIAL, 0.5)] * 4 + [GOOD] * 8, False),  # 10 exactly
        ([EndedCycle(CycleOutcome.PARTIAL, 0.49)] * 4 + [GOOD] * 8, True),
        ([EndedCycle(CycleOutcome.SKIPPED)] * 5 + [GOOD] * 12, False),  # nothing to do is no fault
        ([EndedCycle(CycleOutcome.SKIPPED)] * 50, False),
        ([BAD] * 11, False),  # fewer than are looked at
        ([EndedCycle(CycleOutcome.MISSED)] * 12, True),
        ([EndedCycle(CycleOutcome.TIMED_OUT)] * 12, True),
        ([EndedCycle(CycleOutcome.ABANDONED)] * 12, True),
    ],
)
def test_fewer_than_ten_of_twelve_cycles(newest_first: list[EndedCycle], rolls_back: bool) -> None:
    found = crossed(CALM._replace(newest_first=newest_first))
    assert found == ([Guardrail.CYCLES] if rolls_back else [])


@pytest.mark.parametrize(
    ("ages", "rolls_back"),
    [
        ([DeviceAge(601, 60, 360)] * 20, True),
        ([DeviceAge(600, 60, 360)] * 20, False),
        ([DeviceAge(601, 301, 360)] * 20, False),  # 300 s above legacy's, exactly
        ([DeviceAge(602, 301, 360)] * 20, True),
        ([DeviceAge(3_000, 60, 4_320)] * 20, False),  # an hourly provider
        ([DeviceAge(4_321, 60, 4_320)] * 20, True),
        ([DeviceAge(40_000, 40_010, 360)] * 20, False),  # a parked night: old on both sides
        ([DeviceAge(9_000, 60, 360)] + [DeviceAge(60, 60, 360)] * 19, False),  # 5 % of the devices
        ([DeviceAge(9_000, 60, 360)] * 2 + [DeviceAge(60, 60, 360)] * 18, True),
        ([], False),
    ],
)
def test_the_freshness_of_core(ages: list[DeviceAge], rolls_back: bool) -> None:
    assert crossed(CALM._replace(ages=ages)) == ([Guardrail.FRESHNESS] if rolls_back else [])


@pytest.mark.parametrize(
    ("newest_first", "rolls_back"),
    [
        ([BAD] + [GOOD] * 11, False),  # it tells after the next cycle
        ([EndedCycle(CycleOutcome.PARTIAL, 0.5)] + [GOOD] * 11, False),
        ([BAD, EndedCycle(CycleOutcome.SKIPPED)] + [GOOD] * 11, False),
        ([BAD, BAD] + [GOOD] * 10, True),
        ([GOOD, BAD] + [GOOD] * 10, True),
        ([BAD], False),
        ([], True),  # a fleet of streams
    ],
)
def test_right_after_one_failed_cycle_freshness_is_not_judged(
    newest_first: list[EndedCycle], rolls_back: bool
) -> None:
    old = CALM._replace(ages=[DeviceAge(1_080, 60, 720)] * 20, newest_first=newest_first)
    assert crossed(old) == ([Guardrail.FRESHNESS] if rolls_back else [])


@pytest.mark.parametrize(
    ("shares", "lasting"),
    [
        ([0.1, 0.2, 0.3], 0.1),
        ([0.1, 0.2, 0.3, 0.0], 0.1),  # those before are not looked at
        ([1.0, 0.0, 0.0], 0.0),  # one comparison after a failed cycle
        ([0.1, 0.2], None),
        ([0.1, None, 0.2, 0.3], 0.1),  # the legacy system did not answer once
        ([0.1, None, 0.2], None),
        ([], None),
    ],
)
def test_a_mismatch_counts_that_lasts(shares: list[float | None], lasting: float | None) -> None:
    assert find_lasting_mismatch([counted(share) for share in shares], 0.9) == lasting


def counted(share: float | None, incomparable: int = 0) -> ParityCounts:
    """Return counts of 100 devices; none comparable for None."""
    different = 0 if share is None else round(100 * share)
    equal = 0 if share is None else 100 - different - incomparable
    return ParityCounts(
        100,
        {ParityVerdict.EQUAL: equal, ParityVerdict.DIFFERENT: different}
        | {ParityVerdict.INCOMPARABLE: 100 - equal - different},
    )


def test_a_comparison_of_few_devices_is_no_evidence() -> None:
    few = counted(0.1, incomparable=11)
    assert find_lasting_mismatch([few] * 3, 0.9) is None
    assert find_lasting_mismatch([counted(0.1, incomparable=10)] * 3, 0.9) is not None


def test_without_a_legacy_system_a_guardrail_only_alerts() -> None:
    judgement = judge(CROSSED._replace(has_legacy=False, legacy_answered_at=None), LIMITS, NOW)
    assert (len(judgement.crossings), judgement.acts) == (1, False)
    assert judgement.why_not is not None
    assert "no legacy system" in judgement.why_not


@pytest.mark.parametrize(
    ("share", "poll_owner", "rolls_back"),
    [
        (0.05, PollOwner.BOTH_SHADOW, False),
        (0.051, PollOwner.BOTH_SHADOW, True),
        (1.0, PollOwner.CORE, False),  # legacy no longer collects
        (None, PollOwner.BOTH_SHADOW, False),
    ],
)
def test_parity_acts_in_shadow_only(
    share: float | None, poll_owner: PollOwner, rolls_back: bool
) -> None:
    sight = CALM._replace(mismatch_share=share, cutover=replace(SHADOW, poll_owner=poll_owner))
    assert crossed(sight) == ([Guardrail.PARITY] if rolls_back else [])


CROSSED = CALM._replace(newest_first=[BAD] * 12)


@pytest.mark.parametrize(
    ("answered", "acts"), [(None, False), (60, True), (61, False), (3_600, False)]
)
def test_a_guardrail_only_alerts_while_legacy_does_not_answer(
    answered: float | None, acts: bool
) -> None:
    at = None if answered is None else NOW - timedelta(seconds=answered)
    judgement = judge(CROSSED._replace(legacy_answered_at=at), LIMITS, NOW)
    assert judgement.acts == acts
    assert (judgement.why_not is None) == acts
    assert judgement.crossings


@pytest.mark.parametrize(("since", "acts"), [(0, False), (3_600, False), (3_601, True)])
def test_a_second_guardrail_within_the_hour_only_alerts(since: float, acts: bool) -> None:
    sight = CROSSED._replace(rolled_back_at=NOW - timedelta(seconds=since))
    assert judge(sight, LIMITS, NOW).acts == acts


def test_nothing_is_watched_while_legacy_is_read() -> None:
    flags = replace(SHADOW, read_owner=ReadOwner.LEGACY)
    judgement = judge(CROSSED._replace(cutover=flags), LIMITS, NOW)
    assert (judgement.crossings, judgement.acts) == ((), False)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_value_that_is_enough(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert found is not None
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    smaller = [value for value in values if value < found]
    assert len(smaller) < share * len(values)
