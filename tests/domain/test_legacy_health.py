"""The health rule over what a legacy system says: its times, and nothing of our own side."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.health import judge_health
from domain.health_reason import HealthReason, Party
from domain.health_state import State
from domain.legacy_health import (
    LegacyFleetJudge,
    LegacyReports,
    document_of,
    find_untimed,
)
from domain.model import StatementKind
from domain.parity import DeviceView, ShownValue
from tests.domain.fixtures import BUS_7, HARBOUR_LINES, NOW, TRAM_AND_BUS, ago

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.health import Verdict
    from domain.model import Device, Workspace

BUS_8 = replace(BUS_7, device_id="bus-8", external_id="vid_0008")
NEW = replace(BUS_7, activated_at=ago(minutes=10))
UNHEARD = DeviceView({}, None)
UNREADABLE = DeviceView({}, None, is_readable=False)


def heard(received_at: datetime, **values: Any) -> DeviceView:
    """A view with values observed when they were received."""
    return DeviceView(
        {name: ShownValue(value, received_at) for name, value in values.items()}, received_at
    )


def verdict(
    view: DeviceView | None,
    *,
    device: Device = BUS_7,
    other: DeviceView | None = None,
    workspace: Workspace = HARBOUR_LINES,
    **connection: Any,
) -> Verdict:
    """Judge the device beside bus 8, of which the legacy system shows `other`."""
    views = {"bus-7": view, "bus-8": other}
    answer: Mapping[str, DeviceView] = {name: one for name, one in views.items() if one is not None}
    reports = LegacyReports(answer, {}, {"bus-7": "/values/received_at: it is no instant"})
    link = replace(TRAM_AND_BUS, **connection)
    judge = LegacyFleetJudge(workspace, {"main": link}, ago(seconds=1), NOW)
    places = judge.place([reports.find(device), reports.find(BUS_8)])
    facts = judge.facts_of(places[0].report)
    found = judge_health(facts, NOW)
    assert (found.state, facts.away_since) == (places[0].state, places[0].away_since)
    return found


@pytest.mark.parametrize(
    ("view", "device", "state"),
    [
        (heard(ago(minutes=3)), BUS_7, State.HEALTHY),
        (heard(ago(minutes=9)), BUS_7, State.DELAYED),
        (heard(ago(minutes=22)), BUS_7, State.STALE),
        (heard(ago(seconds=900)), BUS_7, State.DELAYED),
        (heard(ago(seconds=901)), BUS_7, State.STALE),
        (UNHEARD, BUS_7, State.CONFIGURED_NO_DATA),
        (None, BUS_7, State.CONFIGURED_NO_DATA),
        (None, NEW, State.AWAITING_FIRST_DATA),
        (UNREADABLE, BUS_7, State.CONFIGURED_NO_DATA),
    ],
)
def test_states_are_judged_on_the_legacy_systems_times(
    view: DeviceView | None, device: Device, state: State
) -> None:
    assert verdict(view, device=device).state is state


# The rule of docs/cutover.md: bus 8 was heard when this device was late already, and not long ago.
REASONS = {
    "another was heard while this one was late": (
        heard(ago(minutes=22)),
        heard(ago(minutes=1)),
        HealthReason.DEVICE_SILENT,
    ),
    "all fell silent together": (
        heard(ago(minutes=22)),
        heard(ago(minutes=20)),
        HealthReason.NO_ANSWER_YET,
    ),
    "another was heard at the last instant of being in time": (
        heard(ago(minutes=20)),
        heard(ago(minutes=14)),
        HealthReason.NO_ANSWER_YET,
    ),
    "another was heard a second after that": (
        heard(ago(minutes=20)),
        heard(ago(minutes=13, seconds=59)),
        HealthReason.DEVICE_SILENT,
    ),
    "another was heard a stale threshold ago": (
        heard(ago(minutes=22)),
        heard(ago(minutes=15)),
        HealthReason.DEVICE_SILENT,
    ),
    "another was heard a second longer ago": (
        heard(ago(minutes=22)),
        heard(ago(minutes=15, seconds=1)),
        HealthReason.NO_ANSWER_YET,
    ),
    "nobody else was heard": (
        heard(ago(minutes=22)),
        UNHEARD,
        HealthReason.NO_ANSWER_YET,
    ),
    "the other has a time of the future": (
        heard(ago(minutes=22)),
        heard(NOW + timedelta(minutes=5)),
        HealthReason.NO_ANSWER_YET,
    ),
    "the other's clock is a little ahead": (
        heard(ago(minutes=22)),
        heard(NOW + timedelta(seconds=60)),
        HealthReason.DEVICE_SILENT,
    ),
    "it never reported, and another does": (
        UNHEARD,
        heard(ago(minutes=1)),
        HealthReason.NEVER_REPORTED,
    ),
    "the answer does not name it": (None, heard(ago(minutes=1)), HealthReason.NO_ANSWER_YET),
    "its item cannot be read": (UNREADABLE, heard(ago(minutes=1)), HealthReason.NO_ANSWER_YET),
    "it reports": (heard(ago(minutes=1)), None, HealthReason.REPORTING),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_device_is_blamed_only_if_others_were_heard(case: str) -> None:
    view, other, reason = REASONS[case]
    found = verdict(view, other=other)
    assert (found.reason, found.causes) == (reason, ())


def test_inside_the_grace_there_is_nothing_to_explain() -> None:
    found = verdict(None, device=NEW, other=heard(ago(minutes=1)))
    assert (found.reason, found.party) == (HealthReason.AWAITING_FIRST_DATA, Party.UNKNOWN)


def test_our_own_switches_say_nothing_about_the_legacy_system() -> None:
    off = replace(HARBOUR_LINES, active=False)
    found = verdict(heard(ago(minutes=22)), workspace=off, active=False)
    assert (found.state, found.reason) == (State.STALE, HealthReason.NO_ANSWER_YET)
    assert found.evidence["next_poll_at"] is None


def test_a_polled_connection_is_not_asked_by_us() -> None:
    found = verdict(heard(ago(minutes=40)), other=heard(ago(minutes=1)), transport="poll")
    assert found.reason is HealthReason.DEVICE_SILENT
    assert found.evidence["provider_answered_at"] == ago(minutes=1)


def test_late_data_is_a_delay_of_an_unknown_party() -> None:
    view = DeviceView({"soc_percent": ShownValue(50.0, ago(minutes=30))}, ago(minutes=1))
    found = verdict(view)
    assert (found.reason, found.party) == (HealthReason.PROVIDER_DELAY, Party.UNKNOWN)
    assert found.provider_lag_seconds == 29 * 60


def test_a_value_that_does_not_come_any_more_is_named() -> None:
    values = {
        "soc_percent": ShownValue(50.0, ago(hours=5)),
        "odometer_km": ShownValue(1000.0, ago(minutes=1)),
    }
    found = verdict(DeviceView(values, ago(minutes=1)))
    assert (found.reason, found.old_signals) == (HealthReason.SIGNAL_SILENT, ("soc_percent",))


def test_a_time_of_the_future_stands_and_no_age_is_negative() -> None:
    ahead = NOW + timedelta(hours=2)
    found = verdict(heard(ahead, soc_percent=50.0))
    assert (found.state, found.freshness_age_seconds) == (State.HEALTHY, 0.0)
    assert found.evidence["last_update_received_at"] == ahead
    assert found.away_for_seconds == 0.0


@pytest.mark.parametrize(
    ("view", "statement"),
    [
        (heard(ago(minutes=22)), {"kind": "named", "detail": None}),
        (None, {"kind": "left_out", "detail": None}),
        (UNREADABLE, {"kind": "error", "detail": "/values/received_at: it is no instant"}),
    ],
)
def test_the_evidence_says_what_the_answer_says(
    view: DeviceView | None, statement: dict[str, Any]
) -> None:
    shown = verdict(view).evidence["statement"]
    assert shown == {"asked_at": None, "at": ago(seconds=1), **statement}


# --- Assignments


def test_the_legacy_system_may_know_a_device_longer_than_we_do() -> None:
    assert verdict(heard(ago(minutes=22)), device=NEW).state is State.STALE


def test_history_of_an_earlier_assignment_does_not_count() -> None:
    swapped = replace(NEW, assignment=2)
    found = verdict(heard(ago(minutes=22)), device=swapped)
    assert (found.state, found.freshness_age_seconds) == (State.AWAITING_FIRST_DATA, None)


def test_values_of_an_earlier_assignment_are_not_shown() -> None:
    values = {
        "soc_percent": ShownValue(50.0, ago(minutes=11)),
        "odometer_km": ShownValue(1000.0, ago(minutes=10)),
        "speed_kmh": ShownValue(3.0, None),
    }
    view = DeviceView(values, ago(minutes=1))
    reports = LegacyReports({"bus-7": view}, {}, {})
    found = reports.find(replace(NEW, assignment=2))
    assert set(found.view.values) == {"odometer_km", "speed_kmh"}
    assert reports.find(NEW).view == view


# --- Names


def test_a_device_is_found_by_provider_and_external_id() -> None:
    by_external_id = {("main", "VID_0007"): heard(ago(minutes=3)), ("main", "vid_0008"): UNHEARD}
    reports = LegacyReports({}, by_external_id, {})
    assert reports.find(BUS_7).statement is StatementKind.LEFT_OUT
    vin = replace(BUS_7, ids_are_vins=True)
    assert reports.find(vin).view.received_at == ago(minutes=3)
    assert reports.find(BUS_8).statement is StatementKind.NAMED
    assert reports.find(replace(BUS_8, provider_id="spare")).statement is StatementKind.LEFT_OUT


def test_two_items_of_one_id_cannot_be_told_apart() -> None:
    both = {("main", "VID_0007"): heard(ago(minutes=3)), ("main", "vid_0007"): UNHEARD}
    vin = replace(BUS_7, ids_are_vins=True)
    assert LegacyReports({}, both, {}).find(vin).statement is StatementKind.ERROR
    assert LegacyReports({}, both, {}).find(BUS_7).view == UNHEARD


def test_an_item_without_an_id_may_be_any_device_not_named() -> None:
    reports = LegacyReports({"bus-8": UNHEARD}, {}, {None: "/values/device_id: found nothing"})
    assert reports.find(BUS_7).statement is StatementKind.ERROR
    assert reports.find(BUS_8).statement is StatementKind.NAMED


def test_a_device_without_its_connection_is_left_out() -> None:
    judge = LegacyFleetJudge(HARBOUR_LINES, {}, NOW, NOW)
    assert judge.place([LegacyReports({}, {}, {}).find(BUS_7)]) == []


# --- Values


def test_a_position_has_two_names_and_values_have_one_arrival() -> None:
    view = DeviceView(
        {"position": ShownValue((52.1, 5.1), ago(minutes=2)), "soc_percent": ShownValue(7.0, None)},
        ago(minutes=1),
    )
    document = document_of(view)
    assert {name: one.value for name, one in document.items()} == {
        "latitude_deg": 52.1,
        "longitude_deg": 5.1,
        "soc_percent": 7.0,
    }
    assert {one.arrival for one in document.values()} == {document["soc_percent"].stated}
    assert document["latitude_deg"].observed_at == ago(minutes=2)
    assert find_untimed(view) == {"soc_percent"}


def test_values_without_any_receipt_are_not_shown() -> None:
    view = DeviceView({"soc_percent": ShownValue(7.0, ago(minutes=1))}, None)
    report = LegacyReports({"bus-7": view}, {}, {}).find(BUS_7)
    assert (report.statement, report.view) == (StatementKind.NAMED, UNHEARD)
    assert document_of(view) == {}
