"""Answers about a device: which of them count, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from domain.health import judge_health
from domain.health_facts import ConnectionRecord
from domain.health_reason import HealthReason
from tests.domain.fixtures import (
    DUE,
    NOW,
    ago,
    collector,
    link,
    never_heard,
    polled,
    pushed,
    reason,
    silent_for,
    unasked,
)

if TYPE_CHECKING:
    from domain.health_facts import HealthFacts

R = HealthReason
SILENT = silent_for(minutes=22)


def named(known: HealthFacts, begun: float, ended: float) -> HealthFacts:
    return known._replace(
        statement="named", statement_begun_at=ago(seconds=begun), statement_at=ago(seconds=ended)
    )


@pytest.mark.parametrize(
    ("begun", "ended", "expected"),
    [
        (DUE + 5, DUE, R.DEVICE_SILENT),
        (DUE + 5, DUE + 0.001, R.NO_ANSWER_YET),
        (1319, 100, R.DEVICE_SILENT),
        (1320, 100, R.NO_ANSWER_YET),
        (1321, 100, R.NO_ANSWER_YET),
    ],
)
def test_an_answer_blames_for_due_if_begun_after_the_last_update(
    begun: float, ended: float, expected: HealthReason
) -> None:
    """The last update came 1320 s ago."""
    assert reason(named(SILENT, begun, ended)) is expected


def test_an_empty_complete_answer_is_about_a_device_named_before() -> None:
    """200 parked trucks have nothing new: nobody names them, and they are answered about."""
    old = named(polled(SILENT), begun=7200, ended=7199)
    assert reason(old) is R.NO_ANSWER_YET
    complete = link(old, complete_begun_at=ago(seconds=31), complete_at=ago(seconds=30))
    assert reason(complete) is R.DEVICE_SILENT
    assert judge_health(complete, NOW).evidence["provider_answered_at"] == ago(seconds=30)
    for statement in (None, "left_out", "error"):
        assert reason(complete._replace(statement=statement)) is not R.DEVICE_SILENT


def test_a_roster_alone_confirms_nobody() -> None:
    known = link(unasked(polled(SILENT)), roster_begun_at=ago(seconds=2), roster_at=ago(seconds=1))
    assert reason(known) is R.NO_ANSWER_YET


def test_an_answer_about_an_earlier_assignment_does_not_count() -> None:
    known = never_heard(minutes=65)
    moved = replace(known.device, activated_at=ago(minutes=65))
    before = named(known._replace(device=moved), begun=66 * 60, ended=10)
    assert reason(before) is R.NO_ANSWER_YET
    complete = link(before, complete_begun_at=ago(minutes=2), complete_at=ago(minutes=2))
    assert reason(complete) is R.NO_ANSWER_YET


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"data_at": ago(seconds=5), "data_device_id": "bus-8"}, R.DEVICE_SILENT),
        ({"data_at": ago(seconds=900), "data_device_id": "bus-8"}, R.DEVICE_SILENT),
        ({"data_at": ago(seconds=901), "data_device_id": "bus-8"}, R.NO_ANSWER_YET),
        ({"data_at": ago(minutes=22), "data_device_id": "bus-7"}, R.NO_ANSWER_YET),
        (
            {
                "data_at": ago(minutes=22),
                "data_device_id": "bus-7",
                "other_data_at": ago(minutes=23),
            },
            R.NO_ANSWER_YET,
        ),
    ],
)
def test_without_calls_other_vehicles_data_is_the_answer(
    record: Any, expected: HealthReason
) -> None:
    stream = unasked(SILENT)._replace(connection_record=ConnectionRecord(**record))
    assert reason(stream) is expected
    assert reason(pushed(SILENT, sender_at=ago(seconds=1), **record)) is expected


def test_a_lone_vehicle_without_calls_stays_unanswered() -> None:
    alone = pushed(
        silent_for(days=2), sender_at=ago(seconds=1), data_at=ago(days=2), data_device_id="bus-7"
    )
    assert reason(alone) is R.NO_ANSWER_YET


def test_others_do_not_answer_where_there_is_a_state_endpoint() -> None:
    known = link(unasked(SILENT), data_at=ago(seconds=5), data_device_id="bus-8")
    assert reason(known) is R.NO_ANSWER_YET


def test_without_calls_data_from_before_our_gap_proves_nothing() -> None:
    known = pushed(SILENT, data_at=ago(minutes=12), data_device_id="bus-8", sender_at=ago(hours=0))
    assert reason(known) is R.DEVICE_SILENT
    gap = collector(
        known, last_cycle_started_at=ago(minutes=5), earlier_cycle_started_at=ago(minutes=15)
    )
    assert reason(gap) is R.COLLECTOR_LATE
    assert reason(link(gap, data_at=ago(minutes=4))) is R.DEVICE_SILENT
    assert reason(collector(gap, last_cycle_started_at=ago(minutes=11.5))) is R.NO_ANSWER_YET
