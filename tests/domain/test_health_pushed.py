"""Connections over which clients push: who is silent, and who could not be heard."""

from __future__ import annotations

from typing import Any

import pytest

from domain.health_facts import CollectorRecord
from domain.health_reason import HealthReason
from tests.domain.fixtures import (
    after_gap,
    ago,
    collector,
    link,
    never_heard,
    pushed,
    reason,
    silent_for,
)

R = HealthReason


def test_a_pause_says_nothing_about_what_clients_push() -> None:
    known = collector(pushed(silent_for(minutes=22)), is_paused=True)
    assert reason(known) is R.SENDER_SILENT
    assert reason(collector(known, last_cycle_started_at=ago(days=2))) is R.SENDER_SILENT


def test_an_overdue_cycle_does_not_matter_while_clients_push() -> None:
    known = pushed(silent_for(minutes=22), sender_at=ago(minutes=1))
    late = collector(known, last_cycle_started_at=ago(hours=2), owner_expires_at=ago(hours=1))
    assert reason(late) is R.NO_ANSWER_YET
    assert reason(after_gap(known, back=10.0)) is R.COLLECTOR_LATE


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"sender_at": ago(minutes=21)}, R.COLLECTOR_LATE),
        ({"sender_at": ago(minutes=21), "data_at": ago(minutes=21)}, R.COLLECTOR_LATE),
        ({"sender_at": ago(seconds=365.000001)}, R.COLLECTOR_LATE),
        ({"sender_at": ago(seconds=365)}, R.NO_ANSWER_YET),
        ({"sender_at": ago(minutes=1), "data_at": ago(seconds=365)}, R.NO_ANSWER_YET),
        ({"sender_at": ago(minutes=1), "data_at": ago(seconds=364)}, R.DEVICE_SILENT),
        ({"data_at": ago(seconds=365.000001)}, R.COLLECTOR_LATE),
        ({"data_at": ago(seconds=364)}, R.DEVICE_SILENT),
    ],
)
def test_a_sender_that_nobody_could_hear_is_not_silent(record: Any, expected: HealthReason) -> None:
    """No cycle shows yet that our outage is over."""
    known = pushed(silent_for(minutes=22), **{"data_device_id": "bus-8", **record})
    assert reason(collector(known, last_cycle_started_at=ago(minutes=20))) is expected


def test_what_was_pushed_before_the_first_cycle_ends_our_gap() -> None:
    """Otherwise the reason would change with that cycle, and back with the next push."""
    known = after_gap(pushed(silent_for(minutes=22), data_device_id="bus-8"), back=10.0)
    assert reason(link(known, data_at=ago(seconds=11))) is R.DEVICE_SILENT
    assert reason(link(known, data_at=ago(minutes=12))) is R.COLLECTOR_LATE


def test_a_sender_is_not_silent_before_our_first_cycle() -> None:
    known = pushed(silent_for(minutes=22))._replace(collector=CollectorRecord())
    assert reason(known) is R.COLLECTOR_LATE


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"sender_at": ago(seconds=900)}, R.NO_ANSWER_YET),
        ({"sender_at": ago(seconds=900.000001)}, R.SENDER_SILENT),
        ({"sender_at": ago(hours=1), "data_at": ago(minutes=10)}, R.NO_ANSWER_YET),
        ({}, R.SENDER_SILENT),
    ],
)
def test_a_push_connection_without_sender_is_the_customers(
    record: Any, expected: HealthReason
) -> None:
    known = pushed(silent_for(minutes=22), **record)
    own = link(known, data_device_id="bus-7")
    assert reason(own) is expected


def test_a_new_push_connection_has_time_for_its_first_sender() -> None:
    known = pushed(never_heard(hours=2))
    assert reason(known) is R.SENDER_SILENT
    assert reason(known._replace(connection_changed_at=ago(minutes=14))) is R.NO_ANSWER_YET
