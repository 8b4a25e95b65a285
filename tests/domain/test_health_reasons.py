"""The reason for a state: each from stored facts, and the order in which they are found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.health import judge_health
from domain.health_facts import CollectorRecord, ConnectionRecord, HealthFacts
from domain.health_reason import HealthReason
from domain.health_state import State
from domain.model import FaultClass
from domain.schedule import next_start
from tests.domain.fixtures import (
    HARBOUR_LINES,
    NOW,
    TRAM_AND_BUS,
    ago,
    facts,
    never_heard,
    silent_for,
)

if TYPE_CHECKING:
    from datetime import datetime

SILENT = silent_for(minutes=22)


def collector(known: HealthFacts, **changes: Any) -> HealthFacts:
    return known._replace(collector=replace(known.collector, **changes))


def link(known: HealthFacts, **changes: Any) -> HealthFacts:
    return known._replace(connection_record=replace(known.connection_record, **changes))


def reason(known: HealthFacts) -> HealthReason:
    return judge_health(known, NOW).reason


def test_a_fresh_device_is_reporting_whatever_else_is_wrong() -> None:
    broken = link(
        collector(facts(), owner_expires_at=ago(hours=1)),
        call_status="failed",
        stream_status="closed",
    )
    assert reason(broken) is HealthReason.REPORTING


# Each is the remedy of all before it: remove the first cause and the next one shows.
CAUSES: list[tuple[HealthReason, Any]] = [
    (HealthReason.COLLECTOR_LATE, lambda known: collector(known, owner_expires_at=ago(seconds=1))),
    (HealthReason.INGEST_BACKLOG, lambda known: collector(known, oldest_waiting_seconds=30.1)),
    (
        HealthReason.CREDENTIALS_REJECTED,
        lambda known: link(known, call_status="failed", fault=FaultClass.CREDENTIALS),
    ),
    (
        HealthReason.QUOTA_EXHAUSTED,
        lambda known: link(known, call_status="failed", fault=FaultClass.QUOTA),
    ),
    (HealthReason.STREAM_DISCONNECTED, lambda known: link(known, stream_status="closed")),
    (HealthReason.PROVIDER_OUTAGE, lambda known: link(known, call_status="failed")),
    (HealthReason.UPDATES_REJECTED, lambda known: known._replace(last_rejected_at=ago(minutes=1))),
]


@pytest.mark.parametrize("first", range(len(CAUSES)))
def test_the_first_cause_in_the_order_of_the_rule_is_the_reason(first: int) -> None:
    known = SILENT
    for _, cause in reversed(CAUSES[first:]):
        known = cause(known)
    assert reason(known) is CAUSES[first][0]


@pytest.mark.parametrize(("expected", "cause"), CAUSES)
@pytest.mark.parametrize(
    "known", [silent_for(minutes=9), SILENT, never_heard(minutes=10), never_heard(minutes=65)]
)
def test_a_cause_explains_every_state_but_the_fresh_one(
    expected: HealthReason, cause: Any, known: HealthFacts
) -> None:
    assert reason(cause(known)) is expected


def test_without_a_cause_the_silence_is_the_device_s_own() -> None:
    assert reason(silent_for(minutes=9)) is HealthReason.DEVICE_SILENT
    assert reason(SILENT) is HealthReason.DEVICE_SILENT
    assert reason(never_heard(minutes=10)) is HealthReason.AWAITING_FIRST_DATA
    assert reason(never_heard(minutes=65)) is HealthReason.NEVER_REPORTED


# --- collector_late


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"last_cycle_started_at": ago(seconds=365)}, HealthReason.DEVICE_SILENT),
        ({"last_cycle_started_at": ago(seconds=365.000001)}, HealthReason.COLLECTOR_LATE),
        ({"owner_expires_at": NOW}, HealthReason.DEVICE_SILENT),
        ({"owner_expires_at": NOW - timedelta(microseconds=1)}, HealthReason.COLLECTOR_LATE),
    ],
)
def test_an_overdue_cycle_or_a_dead_owner_is_our_own_fault(
    changes: Any, expected: HealthReason
) -> None:
    assert reason(collector(SILENT, **changes)) is expected


def test_a_workspace_without_cycles_is_late_after_the_wait() -> None:
    nothing = CollectorRecord()
    assert (
        reason(never_heard(minutes=5)._replace(collector=nothing))
        is HealthReason.AWAITING_FIRST_DATA
    )
    assert reason(never_heard(minutes=7)._replace(collector=nothing)) is HealthReason.COLLECTOR_LATE


@pytest.mark.parametrize(
    ("activated_at", "expected"),
    [
        (ago(seconds=365), HealthReason.DEVICE_SILENT),
        (ago(seconds=366), HealthReason.COLLECTOR_LATE),
    ],
)
def test_an_activation_is_given_the_time_for_its_first_cycle(
    activated_at: datetime, expected: HealthReason
) -> None:
    """The last start before it is hours old; the same holds for a move to another interval."""
    workspace = replace(HARBOUR_LINES, scheduled_since=activated_at)
    known = collector(SILENT, last_cycle_started_at=ago(hours=5))
    assert reason(known._replace(workspace=workspace)) is expected


def test_a_workspace_that_is_switched_off_has_no_late_collector() -> None:
    resting = SILENT._replace(
        workspace=replace(HARBOUR_LINES, active=False), collector=CollectorRecord()
    )
    assert reason(resting) is HealthReason.DEVICE_SILENT


def test_a_connection_switched_off_here_is_our_fault() -> None:
    assert (
        reason(SILENT._replace(connection=replace(TRAM_AND_BUS, active=False)))
        is HealthReason.COLLECTOR_LATE
    )


def test_a_short_wait_in_the_mailbox_is_no_backlog() -> None:
    assert reason(collector(SILENT, oldest_waiting_seconds=30.0)) is HealthReason.DEVICE_SILENT


# --- the provider


@pytest.mark.parametrize(
    "fault", [None, FaultClass.OUTAGE, FaultClass.PROTOCOL, FaultClass.CONFIGURATION]
)
def test_a_failed_call_of_any_other_class_is_an_outage(fault: FaultClass | None) -> None:
    assert reason(link(SILENT, call_status="failed", fault=fault)) is HealthReason.PROVIDER_OUTAGE


def test_a_failure_that_is_over_explains_nothing() -> None:
    recovered = link(SILENT, fault=FaultClass.CREDENTIALS, last_failure_at=ago(minutes=30))
    assert reason(recovered) is HealthReason.DEVICE_SILENT


def test_a_stream_that_never_opened_is_disconnected_after_a_call() -> None:
    assert reason(link(SILENT, stream_status=None)) is HealthReason.STREAM_DISCONNECTED
    assert reason(link(SILENT, stream_status=None, call_status=None)) is HealthReason.DEVICE_SILENT


def test_a_polled_connection_has_no_stream_to_lose() -> None:
    polled = SILENT._replace(connection=replace(TRAM_AND_BUS, transport="poll"))
    assert reason(link(polled, stream_status="closed")) is HealthReason.DEVICE_SILENT


# --- what arrives


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (SILENT._replace(last_rejected_at=ago(minutes=15)), HealthReason.UPDATES_REJECTED),
        (SILENT._replace(last_rejected_at=ago(minutes=15, seconds=1)), HealthReason.DEVICE_SILENT),
        (
            silent_for(minutes=9)._replace(last_rejected_at=ago(minutes=10)),
            HealthReason.DEVICE_SILENT,
        ),
        (
            silent_for(minutes=9)._replace(last_rejected_at=ago(minutes=9)),
            HealthReason.DEVICE_SILENT,
        ),
        (
            never_heard(minutes=65)._replace(last_rejected_at=ago(minutes=10)),
            HealthReason.UPDATES_REJECTED,
        ),
    ],
)
def test_a_rejection_before_the_last_good_update_is_no_reason(
    known: HealthFacts, expected: HealthReason
) -> None:
    assert reason(known) is expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (
            silent_for(minutes=9)._replace(last_observed_at=ago(minutes=15, seconds=1)),
            HealthReason.PROVIDER_DELAY,
        ),
        (
            silent_for(minutes=9)._replace(last_observed_at=ago(minutes=15)),
            HealthReason.DEVICE_SILENT,
        ),
        (SILENT._replace(last_observed_at=ago(hours=3)), HealthReason.DEVICE_SILENT),
    ],
)
def test_data_that_arrives_late_is_the_providers_delay(
    known: HealthFacts, expected: HealthReason
) -> None:
    assert reason(known) is expected


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
    assert evidence["last_error"] == {
        "class": "credentials",
        "detail": "401",
        "at": ago(seconds=30),
        "failing_since": ago(minutes=20),
    }
    assert evidence["last_good_cycle_at"] == ago(minutes=1)
    assert evidence["provider_answered_at"] == ago(minutes=1)
    assert evidence["owner"] == "shard-a"
    assert evidence["next_poll_at"] == next_start(NOW, "harbour-lines", 3, 300).start_at


def test_nothing_known_is_a_verdict_too() -> None:
    verdict = judge_health(
        never_heard(minutes=65)._replace(
            connection_record=ConnectionRecord(), collector=CollectorRecord()
        ),
        NOW,
    )
    assert (verdict.state, verdict.reason) == (
        State.CONFIGURED_NO_DATA,
        HealthReason.COLLECTOR_LATE,
    )
    assert verdict.signals == ()
    assert verdict.evidence["last_error"] is None


def test_a_workspace_that_is_switched_off_has_no_next_poll() -> None:
    resting = facts(workspace=replace(HARBOUR_LINES, active=False))
    assert judge_health(resting, NOW).evidence["next_poll_at"] is None


def test_an_error_without_a_class_is_shown_without_one() -> None:
    known = link(SILENT, last_failure_at=ago(minutes=1), fault=None)
    error = judge_health(known, NOW).evidence["last_error"]
    assert (error["class"], error["at"]) == (None, ago(minutes=1))
