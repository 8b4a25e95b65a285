"""Each cause on its own: from which fact, until when, and whose it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.health import judge_health
from domain.health_facts import CollectorRecord, ConnectionRecord
from domain.health_reason import HealthReason, Party
from domain.model import FaultClass
from tests.domain.fixtures import (
    DUE,
    HARBOUR_LINES,
    NOW,
    after_gap,
    ago,
    collector,
    link,
    never_heard,
    party,
    polled,
    reason,
    silent_for,
    unasked,
)

if TYPE_CHECKING:
    from datetime import datetime

    from domain.health_facts import HealthFacts

R = HealthReason
UNASKED = unasked(silent_for(minutes=22))
NOTHING: dict[str, Any] = {}


# --- collector_late


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"last_cycle_started_at": ago(seconds=365)}, R.NO_ANSWER_YET),
        ({"last_cycle_started_at": ago(seconds=365.000001)}, R.COLLECTOR_LATE),
        ({"owner_expires_at": NOW}, R.NO_ANSWER_YET),
        ({"owner_expires_at": NOW - timedelta(microseconds=1)}, R.COLLECTOR_LATE),
    ],
)
def test_an_overdue_cycle_or_a_dead_owner_is_ours(changes: Any, expected: HealthReason) -> None:
    assert reason(collector(UNASKED, **changes)) is expected


def test_a_pause_of_every_shard_is_ours_at_once() -> None:
    verdict = judge_health(collector(UNASKED, is_paused=True), NOW)
    assert (verdict.reason, verdict.party) == (R.COLLECTOR_LATE, Party.OURS)
    assert "--paused" in (verdict.causes[0].detail or "")
    assert verdict.evidence["collecting_paused"] is True
    assert verdict.evidence["next_poll_at"] is None


def test_a_workspace_without_cycles_is_late_after_the_wait() -> None:
    def without_cycles(**activated: float) -> HealthFacts:
        return unasked(never_heard(**activated))._replace(collector=CollectorRecord())

    assert reason(without_cycles(minutes=5)) is R.AWAITING_FIRST_DATA
    assert reason(without_cycles(minutes=7)) is R.COLLECTOR_LATE


@pytest.mark.parametrize(
    ("activated_at", "expected"),
    [(ago(seconds=365), R.NO_ANSWER_YET), (ago(seconds=366), R.COLLECTOR_LATE)],
)
def test_an_activation_is_given_the_time_for_its_first_cycle(
    activated_at: datetime, expected: HealthReason
) -> None:
    """The last start before it is hours old; the same holds for a move to another interval."""
    workspace = replace(HARBOUR_LINES, scheduled_since=activated_at)
    known = collector(UNASKED, last_cycle_started_at=ago(hours=5), earlier_cycle_started_at=None)
    assert reason(known._replace(workspace=workspace)) is expected


def test_a_cycle_that_ended_without_asking_is_ours_until_asked() -> None:
    assert reason(link(UNASKED, not_asked_at=ago(seconds=20))) is R.COLLECTOR_LATE
    assert reason(link(polled(UNASKED), not_asked_at=ago(seconds=20))) is R.COLLECTOR_LATE


@pytest.mark.parametrize(
    ("call_ended_at", "expected"),
    [
        (ago(minutes=30), R.COLLECTOR_LATE),
        (ago(seconds=155), R.NO_ANSWER_YET),  # there was no gap
        (ago(seconds=10), R.NO_ANSWER_YET),
    ],
)
def test_our_gap_outlasts_a_first_cycle_that_was_cut(
    call_ended_at: datetime | None, expected: HealthReason
) -> None:
    """The newest cycle came in time after it, and its call has not ended either."""
    back = collector(
        polled(UNASKED),
        last_cycle_started_at=ago(seconds=20),
        last_slot_start_at=ago(seconds=21),
        earlier_cycle_started_at=ago(seconds=150),
    )
    known = link(back, call_status="succeeded", call_ended_at=call_ended_at)
    assert reason(known) is expected


@pytest.mark.parametrize(
    ("call_ended_at", "expected"),
    [
        (None, R.COLLECTOR_LATE),
        (ago(minutes=30), R.COLLECTOR_LATE),
        (ago(seconds=10), R.NO_ANSWER_YET),
    ],
)
def test_our_gap_lasts_until_a_call_has_ended(
    call_ended_at: datetime | None, expected: HealthReason
) -> None:
    """A cycle that has begun tells nothing yet."""
    known = link(after_gap(polled(UNASKED)), call_ended_at=call_ended_at)
    assert reason(known) is expected


def test_a_failed_call_ends_our_gap_and_is_the_reason() -> None:
    known = link(
        after_gap(polled(UNASKED)),
        call_ended_at=ago(seconds=10),
        call_status="failed",
        fault=FaultClass.OUTAGE,
    )
    assert (reason(known), party(known)) == (R.PROVIDER_OUTAGE, Party.PROVIDER)


def test_our_gap_is_over_after_due_at_the_latest() -> None:
    known = link(after_gap(polled(UNASKED, 60), back=132.1), call_ended_at=None)
    assert R.COLLECTOR_LATE in {each.reason for each in judge_health(known, NOW).causes}
    in_time = collector(known, last_cycle_started_at=ago(seconds=60))
    assert reason(collector(in_time, earlier_cycle_started_at=ago(minutes=2))) is R.NO_ANSWER_YET


def test_a_quota_that_makes_us_wait_is_no_gap_of_ours() -> None:
    """The provider asked for an hour; cycles start in time all the while."""
    known = link(
        polled(UNASKED),
        call_ended_at=ago(minutes=50),
        call_status="failed",
        fault=FaultClass.QUOTA,
    )
    assert reason(known) is R.QUOTA_EXHAUSTED


def test_a_workspace_activated_again_has_no_gap_of_ours() -> None:
    known = link(after_gap(polled(UNASKED)), call_ended_at=None)
    fresh = replace(known.workspace, scheduled_since=ago(seconds=25))
    assert reason(known._replace(workspace=fresh)) is R.NO_ANSWER_YET


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (NOTHING, R.COLLECTOR_LATE),
        ({"data_at": ago(minutes=25), "data_device_id": "bus-8"}, R.COLLECTOR_LATE),
        ({"data_at": ago(seconds=50), "data_device_id": "bus-7"}, R.COLLECTOR_LATE),
        ({"data_at": ago(seconds=50), "data_device_id": "bus-8"}, R.DEVICE_SILENT),
        ({"stream_status": "open", "stream_changed_at": ago(seconds=59)}, R.COLLECTOR_LATE),
        ({"stream_status": "open", "stream_changed_at": ago(seconds=61)}, R.NO_ANSWER_YET),
    ],
)
def test_without_calls_data_or_a_socket_ends_our_gap(record: Any, expected: HealthReason) -> None:
    stream = after_gap(UNASKED, back=70.0)._replace(connection_record=ConnectionRecord(**record))
    assert reason(stream) is expected


# --- calls and sockets


@pytest.mark.parametrize("fault", [None, FaultClass.OUTAGE, FaultClass.PROTOCOL])
def test_a_failed_call_of_any_other_class_is_an_outage(fault: FaultClass | None) -> None:
    assert reason(link(UNASKED, call_status="failed", fault=fault)) is R.PROVIDER_OUTAGE


def test_a_failure_that_is_over_explains_nothing() -> None:
    recovered = link(UNASKED, fault=FaultClass.CREDENTIALS, last_failure_at=ago(minutes=30))
    assert reason(recovered) is R.NO_ANSWER_YET


@pytest.mark.parametrize(
    ("fault", "expected", "whose"),
    [
        (FaultClass.CONFIGURATION, R.MISCONFIGURED, Party.OURS),
        (FaultClass.CREDENTIALS, R.CREDENTIALS_REJECTED, Party.CUSTOMER),
        (FaultClass.QUOTA, R.QUOTA_EXHAUSTED, Party.PROVIDER),
        (FaultClass.OUTAGE, R.STREAM_DISCONNECTED, Party.PROVIDER),
        (FaultClass.PROTOCOL, R.STREAM_DISCONNECTED, Party.PROVIDER),
    ],
)
def test_a_socket_has_its_own_last_result(
    fault: FaultClass | None, expected: HealthReason, whose: Party
) -> None:
    known = link(UNASKED, stream_status="closed", stream_fault=fault)
    assert (reason(known), party(known)) == (expected, whose)


def test_a_socket_that_we_closed_ourselves_is_ours() -> None:
    """A hand-over closes it. The next owner has not opened it yet."""
    known = link(UNASKED, stream_status="closed")
    assert (reason(known), party(known)) == (R.COLLECTOR_LATE, Party.OURS)
    lost = link(known, stream_down_since=ago(seconds=3))
    assert (reason(lost), party(lost)) == (R.STREAM_DISCONNECTED, Party.PROVIDER)


def test_an_open_socket_does_not_hide_a_failed_state_call() -> None:
    known = link(UNASKED, call_status="failed", fault=FaultClass.OUTAGE, stream_status="open")
    assert reason(known) is R.PROVIDER_OUTAGE


def test_a_stream_that_was_not_tried_yet_is_not_disconnected() -> None:
    assert reason(link(UNASKED, stream_status=None)) is R.NO_ANSWER_YET
    tried = link(UNASKED, stream_status=None, stream_fault=FaultClass.OUTAGE)
    assert reason(tried) is R.STREAM_DISCONNECTED


@pytest.mark.parametrize(
    ("opened", "down_since", "expected"),
    [
        (5, ago(seconds=8), R.STREAM_DISCONNECTED),
        (DUE, ago(minutes=20), R.STREAM_DISCONNECTED),
        (DUE + 1, ago(minutes=20), R.NO_ANSWER_YET),
        (5, None, R.NO_ANSWER_YET),
    ],
)
def test_a_new_socket_must_prove_itself_for_due_at_most(
    opened: float, down_since: datetime | None, expected: HealthReason
) -> None:
    known = link(UNASKED, stream_changed_at=ago(seconds=opened), stream_down_since=down_since)
    assert reason(known) is expected


def test_a_polled_connection_has_no_stream_to_lose() -> None:
    assert reason(link(polled(UNASKED), stream_status="closed")) is R.NO_ANSWER_YET


@pytest.mark.parametrize(
    ("unreadable", "readable", "expected"),
    [
        (1, None, R.PROVIDER_OUTAGE),
        (1, 2, R.PROVIDER_OUTAGE),
        (2, 1, R.NO_ANSWER_YET),
        (900, None, R.PROVIDER_OUTAGE),
        (901, None, R.NO_ANSWER_YET),
    ],
)
def test_what_cannot_be_read_at_all_is_the_providers(
    unreadable: float, readable: float | None, expected: HealthReason
) -> None:
    known = link(
        UNASKED,
        unreadable_at=ago(seconds=unreadable),
        readable_at=None if readable is None else ago(seconds=readable),
    )
    assert reason(known) is expected


# --- it sends, and we refuse


@pytest.mark.parametrize(
    ("known", "rejected", "expected"),
    [
        (UNASKED, ago(minutes=15), R.UPDATES_REJECTED),
        (UNASKED, ago(minutes=15, seconds=1), R.NO_ANSWER_YET),
        (unasked(silent_for(minutes=9)), ago(minutes=10), R.NO_ANSWER_YET),
        # of one arrival the last record decides
        (unasked(silent_for(minutes=9)), ago(minutes=9), R.UPDATES_REJECTED),
        (unasked(never_heard(minutes=65)), ago(minutes=10), R.UPDATES_REJECTED),
        (unasked(never_heard(minutes=65)), ago(minutes=66), R.NO_ANSWER_YET),
        (polled(UNASKED, 600), ago(minutes=30), R.UPDATES_REJECTED),
    ],
)
def test_a_refusal_counts_while_it_is_the_newest_thing(
    known: HealthFacts, rejected: datetime, expected: HealthReason
) -> None:
    """The last: stale is 30 minutes there, since a poll comes every ten."""
    longer = known._replace(last_update_received_at=known.last_update_received_at and ago(hours=1))
    known = longer if known.workspace.poll_interval_seconds == 600 else known
    assert reason(known._replace(last_rejected_at=rejected)) is expected


@pytest.mark.parametrize(
    ("refused", "whose"),
    [
        ("invalid", Party.DEVICE),
        ("future_timestamp", Party.DEVICE),
        ("malformed", Party.PROVIDER),
        ("identity_conflict", Party.CUSTOMER),
        ("unknown_device", Party.CUSTOMER),
        ("judge_error", Party.OURS),
        (None, Party.UNKNOWN),
    ],
)
def test_the_kind_of_refusal_says_whose_it_is(refused: str | None, whose: Party) -> None:
    known = UNASKED._replace(last_rejected_at=ago(minutes=1), last_rejection_reason=refused)
    assert (reason(known), party(known)) == (R.UPDATES_REJECTED, whose)


@pytest.mark.parametrize(
    ("rejected", "outdated", "expected"),
    [
        (None, 60, R.OUTDATED_DATA),
        (61, 60, R.OUTDATED_DATA),
        (60, 61, R.UPDATES_REJECTED),
        (None, 900, R.OUTDATED_DATA),
        (None, 901, R.NO_ANSWER_YET),
    ],
)
def test_the_newest_thing_that_came_decides(
    rejected: float | None, outdated: float, expected: HealthReason
) -> None:
    known = UNASKED._replace(
        last_rejected_at=None if rejected is None else ago(seconds=rejected),
        last_outdated_at=ago(seconds=outdated),
    )
    assert reason(known) is expected


# --- the provider does not know it


def stated(kind: str, **begun: float) -> HealthFacts:
    begun_at = ago(**begun)
    return link(
        UNASKED._replace(
            statement=kind,
            statement_begun_at=begun_at,
            statement_at=begun_at + timedelta(seconds=1),
            statement_detail="504: upstream timeout" if kind == "error" else None,
        ),
        roster_at=None,
        complete_at=None,
    )


@pytest.mark.parametrize(
    ("known", "expected", "whose"),
    [
        (stated("left_out", minutes=1), R.UNKNOWN_TO_PROVIDER, Party.CUSTOMER),
        (stated("error", minutes=1), R.UNKNOWN_TO_PROVIDER, Party.PROVIDER),
        (stated("left_out", seconds=DUE + 1), R.UNKNOWN_TO_PROVIDER, Party.CUSTOMER),
        (stated("left_out", seconds=DUE + 1.1), R.NO_ANSWER_YET, Party.UNKNOWN),
        (stated("left_out", minutes=23), R.NO_ANSWER_YET, Party.UNKNOWN),
    ],
)
def test_a_vehicle_left_out_or_in_error_is_unknown(
    known: HealthFacts, expected: HealthReason, whose: Party
) -> None:
    assert (reason(known), party(known)) == (expected, whose)


@pytest.mark.parametrize("confirmed", ["roster_at", "complete_at"])
def test_a_later_answer_of_the_provider_confirms_the_roster(confirmed: str) -> None:
    """A roster is asked every half hour, and due is 11 minutes."""
    known = stated("left_out", minutes=20)
    assert reason(known) is R.NO_ANSWER_YET
    assert reason(link(known, **{confirmed: ago(minutes=11)})) is R.UNKNOWN_TO_PROVIDER
    assert reason(link(known, **{confirmed: ago(minutes=11, seconds=1)})) is R.NO_ANSWER_YET


def test_a_statement_about_an_earlier_assignment_is_ignored() -> None:
    moved = replace(UNASKED.device, activated_at=ago(seconds=30))
    known = stated("left_out", minutes=1)._replace(device=moved, last_update_received_at=None)
    assert reason(known) is R.AWAITING_FIRST_DATA
