"""The reason for a state, its party, and which of the causes decides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from domain.health import judge_health
from domain.health_facts import CollectorRecord, ConnectionRecord
from domain.health_reason import PARTIES, HealthReason, Party
from domain.health_state import State
from domain.model import FaultClass
from domain.schedule import Place, next_start
from tests.domain.fixtures import (
    HARBOUR_LINES,
    NOW,
    TRAM_AND_BUS,
    ago,
    collector,
    facts,
    link,
    never_heard,
    pushed,
    reason,
    silent_for,
    unasked,
)

if TYPE_CHECKING:
    from domain.health_facts import HealthFacts

SILENT = silent_for(minutes=22)
R = HealthReason


def blame(known: HealthFacts) -> tuple[HealthReason, Party]:
    verdict = judge_health(known, NOW)
    return verdict.reason, verdict.party


def failed(fault: FaultClass | None) -> Any:
    return lambda known: link(known, call_status="failed", fault=fault)


def disconnected(known: HealthFacts) -> HealthFacts:
    return link(known, stream_status="closed", stream_down_since=ago(seconds=3))


def left_out(known: HealthFacts) -> HealthFacts:
    return known._replace(
        statement="left_out", statement_begun_at=ago(minutes=2), statement_at=ago(minutes=2)
    )


def switched_off(known: HealthFacts) -> HealthFacts:
    return known._replace(connection=replace(known.connection, active=False))


# Every cause of a stream in the order of the rule, each with the fact that makes it.
CAUSES: list[tuple[HealthReason, Party, Any]] = [
    (R.SWITCHED_OFF, Party.CUSTOMER, switched_off),
    (R.COLLECTOR_LATE, Party.OURS, lambda known: collector(known, owner_expires_at=ago(seconds=1))),
    (R.INGEST_BACKLOG, Party.OURS, lambda known: collector(known, oldest_waiting_seconds=30.1)),
    (R.MISCONFIGURED, Party.OURS, failed(FaultClass.CONFIGURATION)),
    (R.CREDENTIALS_REJECTED, Party.CUSTOMER, failed(FaultClass.CREDENTIALS)),
    (R.QUOTA_EXHAUSTED, Party.PROVIDER, failed(FaultClass.QUOTA)),
    (R.PROVIDER_OUTAGE, Party.PROVIDER, failed(FaultClass.OUTAGE)),
    (R.STREAM_DISCONNECTED, Party.PROVIDER, disconnected),
    (
        R.UPDATES_REJECTED,
        Party.DEVICE,
        lambda known: known._replace(
            last_rejected_at=ago(minutes=1), last_rejection_reason="invalid"
        ),
    ),
    (
        R.OUTDATED_DATA,
        Party.DEVICE,
        lambda known: known._replace(last_outdated_at=ago(minutes=2)),
    ),
    (R.UNKNOWN_TO_PROVIDER, Party.CUSTOMER, left_out),
]
STATES = [silent_for(minutes=9), SILENT, never_heard(minutes=10), never_heard(minutes=65)]


def having(causes: list[tuple[HealthReason, Party, Any]], known: HealthFacts) -> HealthFacts:
    for _, _, add in reversed(causes):
        known = add(known)
    return known


@pytest.mark.parametrize("first", range(len(CAUSES)))
def test_without_an_answer_the_first_cause_is_the_reason(first: int) -> None:
    """Of unknown_to_provider another test tells: it is an answer."""
    known = having(CAUSES[first:-1] or CAUSES[-1:], unasked(SILENT))
    assert blame(known) == CAUSES[first][:2]


@pytest.mark.parametrize(("expected", "party", "add"), CAUSES)
@pytest.mark.parametrize("known", STATES)
def test_a_cause_explains_every_state_but_the_fresh_one(
    expected: HealthReason, party: Party, add: Any, known: HealthFacts
) -> None:
    assert blame(add(unasked(known))) == (expected, party)
    assert judge_health(add(facts()), NOW).reason is R.REPORTING


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (silent_for(minutes=9), R.DEVICE_SILENT),
        (SILENT, R.DEVICE_SILENT),
        (never_heard(minutes=10), R.AWAITING_FIRST_DATA),
        (never_heard(minutes=65), R.NEVER_REPORTED),
    ],
)
def test_a_recent_answer_is_not_displaced_by_the_connection(
    known: HealthFacts, expected: HealthReason
) -> None:
    for _, _, add in CAUSES[1:8]:
        assert reason(add(known)) is expected
    late, misconfigured = CAUSES[1], CAUSES[3]
    troubled = judge_health(having([late, misconfigured], known), NOW)
    assert troubled.reason is expected
    assert [each.reason for each in troubled.causes] == [R.COLLECTOR_LATE, R.MISCONFIGURED]


@pytest.mark.parametrize(("expected", "party", "add"), [CAUSES[0], *CAUSES[8:]])
def test_what_the_device_did_comes_before_a_recent_answer(
    expected: HealthReason, party: Party, add: Any
) -> None:
    assert blame(add(SILENT)) == (expected, party)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (silent_for(minutes=9), R.NO_ANSWER_YET),
        (SILENT, R.NO_ANSWER_YET),
        (never_heard(minutes=10), R.AWAITING_FIRST_DATA),
        (never_heard(minutes=65), R.NO_ANSWER_YET),
    ],
)
def test_without_answer_and_cause_nobody_is_blamed(
    known: HealthFacts, expected: HealthReason
) -> None:
    assert blame(unasked(known)) == (expected, Party.UNKNOWN)


def test_troubles_of_the_connection_do_not_hide_it_is_left_out() -> None:
    """A reconnect of three seconds does not re-label it, nor does an outage within due."""
    for _, _, add in CAUSES[1:8]:
        assert blame(add(left_out(SILENT))) == (R.UNKNOWN_TO_PROVIDER, Party.CUSTOMER)


def test_a_sender_that_is_silent_is_the_customers() -> None:
    quiet = pushed(SILENT, sender_at=ago(minutes=16), data_at=ago(minutes=16))
    assert blame(quiet) == (R.SENDER_SILENT, Party.CUSTOMER)


def test_a_whole_workspace_that_is_switched_off_is_the_customers() -> None:
    resting = SILENT._replace(
        workspace=replace(HARBOUR_LINES, active=False), collector=CollectorRecord()
    )
    assert blame(resting) == (R.SWITCHED_OFF, Party.CUSTOMER)


def test_every_reason_but_three_has_one_party() -> None:
    assert set(R) - set(PARTIES) == {R.PROVIDER_DELAY, R.UPDATES_REJECTED, R.UNKNOWN_TO_PROVIDER}


# --- fresh devices


def test_a_fresh_device_is_reporting_whatever_else_is_wrong() -> None:
    broken = link(
        collector(facts(), owner_expires_at=ago(hours=1)),
        call_status="failed",
        stream_status="closed",
    )
    assert blame(broken) == (R.REPORTING, Party.NONE)
    assert judge_health(broken, NOW).causes == ()


@pytest.mark.parametrize(
    ("observed_before", "held_back", "expected"),
    [
        (360, None, (R.REPORTING, Party.NONE)),
        (360.000001, None, (R.PROVIDER_DELAY, Party.UNKNOWN)),
        (400, 360.0, (R.PROVIDER_DELAY, Party.UNKNOWN)),
        (400, 360.1, (R.PROVIDER_DELAY, Party.PROVIDER)),
        (90 * 86_400, 30.0, (R.PROVIDER_DELAY, Party.UNKNOWN)),
    ],
)
def test_old_data_that_has_just_come_is_a_delay(
    observed_before: float, held_back: float | None, expected: tuple[HealthReason, Party]
) -> None:
    received_at = ago(minutes=1)
    known = facts(
        last_update_received_at=received_at,
        last_observed_at=ago(seconds=60 + observed_before),
        held_back_seconds=held_back,
    )
    verdict = judge_health(known, NOW)
    assert (verdict.state, verdict.reason, verdict.party) == (State.HEALTHY, *expected)
    assert verdict.evidence["last_update_received_at"] == received_at
    assert verdict.evidence["last_observed_at"] == known.last_observed_at
    assert verdict.away_for_seconds == pytest.approx(60 + observed_before)


def test_a_late_device_is_never_delayed_by_its_provider() -> None:
    assert reason(silent_for(minutes=9)._replace(last_observed_at=ago(hours=3))) is R.DEVICE_SILENT


def test_with_a_clock_ahead_it_is_away_since_our_arrival() -> None:
    known = silent_for(minutes=9)._replace(last_observed_at=ago(minutes=5))
    assert judge_health(known, NOW).away_for_seconds == 540.0
    assert judge_health(never_heard(minutes=65), NOW).away_for_seconds is None


# --- evidence


def test_every_verdict_carries_what_a_person_checks_next() -> None:
    known = link(
        SILENT,
        call_status="failed",
        fault=FaultClass.CREDENTIALS,
        fault_detail="401",
        last_failure_at=ago(seconds=30),
        failing_since=ago(minutes=20),
    )
    evidence = judge_health(known, NOW).evidence
    assert evidence["causes"] == [
        {
            "reason": "credentials_rejected",
            "party": "customer",
            "since": ago(minutes=20),
            "detail": "401",
        }
    ]
    assert evidence["last_error"] == {
        "class": "credentials",
        "detail": "401",
        "at": ago(seconds=30),
        "failing_since": ago(minutes=20),
    }
    assert evidence["last_good_cycle_at"] == ago(minutes=1)
    assert evidence["provider_answered_at"] == ago(seconds=29)
    assert evidence["statement"] == {
        "kind": "named",
        "asked_at": ago(seconds=30),
        "at": ago(seconds=29),
        "detail": None,
    }
    assert evidence["away_for_seconds"] == 22 * 60
    assert evidence["owner"] == "shard-a"
    assert evidence["next_poll_at"] == next_start(NOW, Place("harbour-lines", 3, 300)).start_at


def test_a_socket_and_a_state_call_show_their_errors_apart() -> None:
    known = link(
        SILENT,
        stream_status="closed",
        stream_fault=FaultClass.CREDENTIALS,
        stream_fault_detail="403",
        stream_down_since=ago(minutes=2),
    )
    evidence = judge_health(known, NOW).evidence
    assert evidence["last_error"] is None
    assert evidence["last_stream_error"] == {
        "class": "credentials",
        "detail": "403",
        "at": ago(minutes=2),
        "failing_since": ago(minutes=2),
    }


def test_nothing_known_is_a_verdict_too() -> None:
    known = unasked(never_heard(minutes=65))._replace(
        connection_record=ConnectionRecord(), collector=CollectorRecord()
    )
    verdict = judge_health(known, NOW)
    assert (verdict.state, verdict.reason) == (State.CONFIGURED_NO_DATA, R.COLLECTOR_LATE)
    assert verdict.old_signals == ()
    assert (verdict.evidence["last_error"], verdict.evidence["statement"]) == (None, None)


def test_a_workspace_that_is_switched_off_has_no_next_poll() -> None:
    resting = facts(workspace=replace(HARBOUR_LINES, active=False))
    assert judge_health(resting, NOW).evidence["next_poll_at"] is None


def test_an_error_without_a_class_is_shown_without_one() -> None:
    known = link(SILENT, last_failure_at=ago(minutes=1), fault=None)
    error = judge_health(known, NOW).evidence["last_error"]
    assert (error["class"], error["at"]) == (None, ago(minutes=1))


def test_a_connection_that_is_switched_off_says_since_when() -> None:
    off = replace(TRAM_AND_BUS, active=False)
    known = SILENT._replace(connection=off, connection_changed_at=ago(hours=1))
    (only,) = judge_health(known, NOW).causes
    assert (only.reason, only.since) == (R.SWITCHED_OFF, ago(hours=1))
