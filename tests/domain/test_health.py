"""The health rows, thresholds and ages, at their exact boundaries."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.health import judge_health
from domain.health_facts import ConnectionRecord
from domain.health_reason import HealthReason
from domain.health_signals import SignalRules, age_signals
from domain.health_state import State, cutoffs, state_of
from domain.model import Policy, PolicyOverride
from domain.thresholds import resolve_thresholds
from tests.domain.fixtures import (
    BUS_7,
    HARBOUR_LINES,
    NOW,
    TRAM_AND_BUS,
    ago,
    facts,
    held,
    never_heard,
    silent_for,
)

if TYPE_CHECKING:
    from typing import Any

    from domain.health_facts import HealthFacts
    from domain.health_signals import SignalAge

MICROSECOND = 0.000_001


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (silent_for(minutes=3), State.HEALTHY),
        (silent_for(minutes=9), State.DELAYED),
        (silent_for(minutes=22), State.STALE),
        (never_heard(minutes=65), State.CONFIGURED_NO_DATA),
        (never_heard(minutes=10), State.AWAITING_FIRST_DATA),
    ],
)
def test_fr_006_the_rows_of_the_specification(known: HealthFacts, state: State) -> None:
    assert judge_health(known, NOW).state is state


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (silent_for(seconds=0), State.HEALTHY),
        (silent_for(seconds=360), State.HEALTHY),
        (silent_for(seconds=360 + MICROSECOND), State.DELAYED),
        (silent_for(seconds=900), State.DELAYED),
        (silent_for(seconds=900 + MICROSECOND), State.STALE),
        (silent_for(days=400), State.STALE),
        (never_heard(seconds=3600), State.AWAITING_FIRST_DATA),
        (never_heard(seconds=3600 + MICROSECOND), State.CONFIGURED_NO_DATA),
        (silent_for(seconds=-2), State.HEALTHY),
    ],
)
def test_fr_006_boundaries_are_exact(known: HealthFacts, state: State) -> None:
    assert judge_health(known, NOW).state is state


def test_acceptance_8_nfr_004_the_grace_ends_to_the_second() -> None:
    activated_at = BUS_7.activated_at
    known = never_heard()._replace(device=BUS_7)
    ends = activated_at + timedelta(seconds=3600)

    assert judge_health(known, ends).state is State.AWAITING_FIRST_DATA
    assert judge_health(known, ends).grace_exceeded_at is None
    breached = judge_health(known, ends + timedelta(seconds=1))
    assert (breached.state, breached.grace_exceeded_at) == (State.CONFIGURED_NO_DATA, ends)


def test_acceptance_6_age_and_lag_stand_beside_the_state() -> None:
    verdict = judge_health(
        facts(last_update_received_at=ago(minutes=9), last_observed_at=ago(minutes=10)), NOW
    )
    assert (verdict.freshness_age_seconds, verdict.provider_lag_seconds) == (540.0, 60.0)
    assert judge_health(never_heard(minutes=65), NOW).freshness_age_seconds is None
    assert judge_health(never_heard(minutes=65), NOW).provider_lag_seconds is None


def test_age_is_never_negative() -> None:
    assert judge_health(silent_for(seconds=-2), NOW).freshness_age_seconds == 0.0


def test_an_hourly_connection_is_judged_by_its_own_period() -> None:
    hourly = replace(TRAM_AND_BUS, expected_update_seconds=3600)
    assert (
        judge_health(silent_for(minutes=72)._replace(connection=hourly), NOW).state is State.HEALTHY
    )
    assert (
        judge_health(silent_for(minutes=73)._replace(connection=hourly), NOW).state is State.DELAYED
    )
    assert (
        judge_health(silent_for(minutes=181)._replace(connection=hourly), NOW).state is State.STALE
    )


@pytest.mark.parametrize(
    ("down_for", "state"),
    [(None, State.DELAYED), (400, State.DELAYED), (420, State.DELAYED), (421, State.HEALTHY)],
)
def test_data_from_a_state_call_has_the_limits_of_a_poll(
    down_for: float | None, state: State
) -> None:
    """The device was heard seven minutes ago, and calls are made every ten minutes."""
    record = ConnectionRecord(
        stream_status="closed",
        stream_down_since=None if down_for is None else ago(seconds=down_for),
    )
    known = silent_for(minutes=7)._replace(
        connection=replace(TRAM_AND_BUS, transport="stream"),
        workspace=replace(HARBOUR_LINES, poll_interval_seconds=600),
        connection_record=record,
    )
    assert judge_health(known, NOW).state is state


seconds = st.one_of(
    st.sampled_from([0.0, 359.999999, 360.0, 360.000001, 900.0, 900.000001, 3600.0, 3600.000001]),
    st.floats(-10, 10_000).map(lambda value: round(value, 6)),
)
limits = st.floats(0.1, 8_000)


@given(age=st.none() | seconds, activated=seconds, delayed=limits, stale=limits, grace=limits)
def test_cutoffs_verdict_and_the_rule_in_words_agree(
    age: float | None, activated: float, delayed: float, stale: float, grace: float
) -> None:
    known = facts(
        workspace=replace(HARBOUR_LINES, policy=Policy(300, delayed, stale, grace)),
        device=replace(BUS_7, activated_at=ago(seconds=activated)),
        last_update_received_at=None if age is None else ago(seconds=age),
    )
    thresholds = resolve_thresholds(known.workspace, known.connection, known.device)
    verdict = judge_health(known, NOW)
    assert verdict.state is state_of(
        known.last_update_received_at, known.device.activated_at, cutoffs(thresholds, NOW)
    )
    assert verdict.state is in_words(known, delayed, max(delayed, stale), grace)


def in_words(known: HealthFacts, delayed: float, stale: float, grace: float) -> State:
    def over(since: datetime, limit: float) -> bool:
        return NOW - since > timedelta(seconds=limit)

    received_at = known.last_update_received_at
    if received_at is None:
        return (
            State.CONFIGURED_NO_DATA
            if over(known.device.activated_at, grace)
            else State.AWAITING_FIRST_DATA
        )
    if over(received_at, stale):
        return State.STALE
    return State.DELAYED if over(received_at, delayed) else State.HEALTHY


@given(st.lists(seconds, min_size=2, max_size=2).map(sorted))
def test_age_only_grows_until_a_new_update_is_accepted(moments: list[float]) -> None:
    known = silent_for(seconds=0)
    earlier, later = (judge_health(known, NOW + timedelta(seconds=moment)) for moment in moments)
    assert earlier.freshness_age_seconds is not None
    assert later.freshness_age_seconds is not None
    assert earlier.freshness_age_seconds <= later.freshness_age_seconds
    order = [State.HEALTHY, State.DELAYED, State.STALE]
    assert order.index(earlier.state) <= order.index(later.state)


# --- signals age too


def ages(known: HealthFacts) -> tuple[SignalAge, ...]:
    """Return the ages of the values, of which the verdict has the old periodic ones."""
    thresholds = resolve_thresholds(known.workspace, known.connection, known.device)
    rules = SignalRules(known.workspace, thresholds)
    found = age_signals(known.document, rules, NOW)
    old = [item.signal for item in found if item.mark == "old"]
    periodic = tuple(signal for signal in old if rules[signal].condition is None)
    assert judge_health(known, NOW).old_signals == periodic
    return found


def marks(known: HealthFacts) -> dict[str, str]:
    return {item.signal: item.mark for item in ages(known)}


def test_a_device_with_one_old_signal_is_healthy_and_says_so() -> None:
    known = facts(
        document={"soc_percent": (40, ago(hours=5)), "latitude_deg": (52.5, ago(seconds=5))}
    )
    verdict = judge_health(known, NOW)
    assert (verdict.state, verdict.reason, verdict.old_signals) == (
        State.HEALTHY,
        HealthReason.SIGNAL_SILENT,
        ("soc_percent",),
    )
    assert [(item.signal, item.age_seconds, item.mark) for item in ages(known)] == [
        ("latitude_deg", 5.0, "current"),
        ("soc_percent", 18_000.0, "old"),
    ]


def test_a_signal_is_old_only_past_its_limit() -> None:
    assert marks(facts(document={"soc_percent": (40, ago(seconds=3600))})) == {
        "soc_percent": "current"
    }
    assert marks(facts(document={"soc_percent": (40, ago(seconds=3600.000001))})) == {
        "soc_percent": "old"
    }


def test_a_signal_of_a_rare_reporter_gets_three_of_its_periods() -> None:
    known = facts(
        connection=replace(TRAM_AND_BUS, expected_update_seconds=3600),
        document={"soc_percent": (40, ago(hours=3))},
    )
    assert marks(known) == {"soc_percent": "current"}
    older = {"soc_percent": held(40, ago(hours=3, seconds=1))}
    assert marks(known._replace(document=older)) == {"soc_percent": "old"}


def test_shortened_thresholds_shorten_the_age_of_signals() -> None:
    demo = replace(HARBOUR_LINES, policy=Policy(3.0, 3.6, 9.0, 36.0))
    document = {"soc_percent": (40, ago(seconds=37)), "odometer_km": (9, ago(seconds=37))}
    assert marks(facts(workspace=demo, document=document)) == {
        "soc_percent": "old",
        "odometer_km": "current",
    }


def test_lengthened_thresholds_leave_the_age_of_signals_alone() -> None:
    patient = replace(HARBOUR_LINES, policy=Policy(stale_after_seconds=9000))
    assert marks(facts(workspace=patient, document={"soc_percent": (40, ago(hours=2))})) == {
        "soc_percent": "old"
    }


def test_no_signal_is_old_while_the_device_is_on_time() -> None:
    relaxed = replace(
        BUS_7, override=PolicyOverride(delayed_after_seconds=7200, stale_after_seconds=9000)
    )
    assert marks(facts(device=relaxed, document={"speed_kmh": (0, ago(hours=2))})) == {
        "speed_kmh": "current"
    }


def test_a_signal_that_left_the_catalogue_still_ages() -> None:
    assert marks(facts(document={"retired_signal": (1, ago(hours=2))})) == {"retired_signal": "old"}


def test_a_signal_of_a_charge_ends_with_the_charge() -> None:
    """The vendor sends power only while it charges. The bus was unplugged two hours ago."""
    charge = {"charging_power_kw": (150.0, ago(hours=3)), "range_km": (200, ago(minutes=1))}
    over = charge | {"charging": (False, ago(seconds=50)), "soc_percent": (99, ago(seconds=50))}
    verdict = judge_health(facts(document=over), NOW)
    assert (verdict.state, verdict.reason) == (State.HEALTHY, HealthReason.REPORTING)
    assert marks(facts(document=over)) == {
        "charging": "current",
        "charging_power_kw": "ended",
        "range_km": "current",
        "soc_percent": "current",
    }


@pytest.mark.parametrize(
    ("charging", "mark"),
    [
        ((False, ago(minutes=3)), "ended"),
        ((False, ago(minutes=4)), "current"),
        ((True, ago(minutes=2)), "current"),
        (None, "current"),
    ],
)
def test_a_charge_is_over_when_the_vehicle_has_said_so_since(charging: Any, mark: str) -> None:
    power: dict[str, Any] = {"charging_power_kw": (150.0, ago(minutes=3))}
    known = facts(document=power | ({} if charging is None else {"charging": charging}))
    assert marks(known)["charging_power_kw"] == mark


def test_a_signal_of_a_charge_makes_nobody_silent() -> None:
    """Nothing says whether it still charges: the value is old, and no periodic signal is."""
    known = facts(document={"charging_power_kw": (150.0, ago(hours=3))})
    verdict = judge_health(known, NOW)
    assert (verdict.reason, verdict.old_signals) == (HealthReason.REPORTING, ())
    assert marks(known) == {"charging_power_kw": "old"}
