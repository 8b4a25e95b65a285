"""Acceptance, case by case: what one update does to one device."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from domain.acceptance import AcceptedEvent, judge
from domain.model import Dropped, Outcome, Reason, Result
from tests.domain.fixtures import NOW, ago, fold, reading, update, values_of


def test_fr_004_an_accepted_update_moves_snapshot_and_history() -> None:
    device = fold()
    sent = update(
        reading("soc_percent", 88.5, ago(seconds=5)), reading("charging", True, ago(seconds=9))
    )

    assert judge(sent, device) == Result(Outcome.ACCEPTED, None, "bus-7", 1)
    assert values_of(device) == {
        "soc_percent": (88.5, ago(seconds=5)),
        "charging": (True, ago(seconds=9)),
    }
    assert (
        device.version,
        device.last_update_received_at,
        device.last_observed_at,
        device.last_changed_at,
    ) == (
        1,
        NOW,
        ago(seconds=5),
        NOW,
    )
    assert device.events == [AcceptedEvent(1, sent, sent.readings)]


def test_only_the_readings_that_advance_are_in_the_event() -> None:
    device = fold(document={"soc_percent": (80.0, NOW)}, version=4)
    late, new = reading("soc_percent", 79.0, ago(hours=1)), reading("speed_kmh", 30.0, ago(hours=1))

    assert judge(update(late, new), device).outcome is Outcome.ACCEPTED
    assert device.events[0].readings == (new,)
    assert values_of(device)["soc_percent"] == (80.0, NOW)


def test_a_late_frame_does_not_move_the_snapshot_back() -> None:
    device = fold(document={"soc_percent": (80.0, NOW)}, version=4)
    before = deepcopy(device)

    assert judge(update(reading("soc_percent", 79.0, ago(hours=1))), device) == Result(
        Outcome.STALE, None, "bus-7", 4
    )
    assert device == replace(before, last_outdated_at=NOW)


@pytest.mark.parametrize(
    ("readings", "outcome"),
    [
        ([("soc_percent", 80.0, NOW)], Outcome.DUPLICATE),
        ([("soc_percent", 81.0, NOW)], Outcome.CONFLICT),
        ([("soc_percent", 80.0, ago(seconds=1))], Outcome.STALE),
        ([("soc_percent", 80.0, NOW), ("speed_kmh", 5, ago(hours=2))], Outcome.STALE),
        ([("soc_percent", 81.0, NOW), ("speed_kmh", 5, ago(hours=2))], Outcome.CONFLICT),
    ],
)
def test_fr_015_without_news_an_update_is_told_apart(readings: list[Any], outcome: Outcome) -> None:
    device = fold(document={"soc_percent": (80.0, NOW), "speed_kmh": (0, ago(hours=1))}, version=2)
    before = deepcopy(device)

    result = judge(update(*(reading(*parts) for parts in readings)), device)

    assert (result.outcome, result.reason, result.version) == (outcome, None, 2)
    assert device.document == before.document
    assert device.events == []


def test_several_readings_of_one_signal_are_handled_in_order() -> None:
    device = fold()
    first, second, late = (
        reading("soc_percent", value, at)
        for value, at in [(1, ago(hours=2)), (2, NOW), (3, ago(hours=1))]
    )

    assert judge(update(first, second, late), device).version == 1
    assert values_of(device) == {"soc_percent": (2, NOW)}
    assert device.events[0].readings == (first, second)


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"vehicle_id": "vehicle-8"}, "vehicle_id"),
        ({"provider_id": "other"}, "provider_id"),
        ({"device_id": "bus-7", "external_id": "vid_0008"}, "external_id"),
        ({"device_id": "bus-8"}, "device_id"),
    ],
)
def test_acceptance_4_a_contradicted_identity_is_a_conflict(
    claims: dict[str, Any], named: str
) -> None:
    device = fold()

    result = judge(update(reading("soc_percent", 1), **claims), device)

    assert result == Result(
        Outcome.REJECTED,
        Reason.IDENTITY_CONFLICT,
        "bus-7",
        0,
        f"disagrees with the registry: {named}",
    )
    assert (values_of(device), device.last_rejected_at, device.last_rejection_reason) == (
        {},
        NOW,
        "identity_conflict",
    )


def test_an_identity_that_agrees_is_accepted() -> None:
    claims: dict[str, Any] = {"device_id": "bus-7", "vehicle_id": "vehicle-7", "external_id": None}
    assert judge(update(reading("soc_percent", 1), **claims), fold()).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("device", [None, fold(active=False), fold(workspace_id="someone-else")])
def test_acceptance_4_an_absent_or_retired_device_is_unknown(device: Any) -> None:
    before = deepcopy(device)

    assert judge(update(reading("soc_percent", 1)), device) == Result(
        Outcome.REJECTED, Reason.UNKNOWN_DEVICE
    )
    assert device == before


def test_bad_readings_are_named_and_the_rest_is_accepted() -> None:
    device = fold()
    sent = update(reading("soc_percent", 200), reading("wa\x00rp", 1), reading("speed_kmh", 30))

    result = judge(sent, device)

    assert result == Result(
        Outcome.ACCEPTED,
        None,
        "bus-7",
        1,
        "soc_percent: above 100 %; wa\\x00rp: unknown signal",
        (
            Dropped("soc_percent", Reason.INVALID, "above 100 %"),
            Dropped("wa\\x00rp", Reason.INVALID, "unknown signal"),
        ),
    )
    assert values_of(device) == {"speed_kmh": (30, NOW)}


def test_the_detail_of_many_dropped_readings_stays_short() -> None:
    detail = judge(update(*[reading("x" * 5_000, 1)] * 5_000), fold()).detail
    assert detail is not None
    assert detail.endswith("and 4995 more")
    assert len(detail) < 400


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([], Reason.INVALID),
        ([("soc_percent", 200, NOW)], Reason.INVALID),
        ([("soc_percent", float("nan"), NOW)], Reason.INVALID),
        ([("charging_status", "\x00", NOW)], Reason.INVALID),
        ([("soc_percent", 20, NOW.replace(tzinfo=None))], Reason.INVALID),
        (
            [("soc_percent", 20, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))))],
            Reason.INVALID,
        ),
        ([("soc_percent", 20, NOW + timedelta(hours=1))], Reason.FUTURE_TIMESTAMP),
        (
            [("speed_kmh", -1, NOW), ("soc_percent", 20, NOW + timedelta(hours=1))],
            Reason.FUTURE_TIMESTAMP,
        ),
    ],
)
def test_an_update_with_no_reading_left_is_rejected(readings: list[Any], reason: Reason) -> None:
    device = fold(version=3)

    result = judge(update(*(reading(*parts) for parts in readings)), device)

    assert (result.outcome, result.reason, result.version) == (Outcome.REJECTED, reason, 3)
    assert result.detail
    assert (device.version, values_of(device), device.events) == (3, {}, [])
    assert (device.last_rejected_at, device.last_rejection_reason) == (NOW, reason.value)


def test_the_newest_refusal_is_the_one_remembered() -> None:
    device = fold()
    judge(update(reading("soc_percent", 200)), device)
    judge(update(reading("soc_percent", 1), vehicle_id="vehicle-8"), device)
    judge(update(reading("soc_percent", 200), received_at=ago(seconds=1)), device)
    assert (device.last_rejected_at, device.last_rejection_reason) == (NOW, "identity_conflict")


def test_the_future_guard_holds_to_the_microsecond() -> None:
    guard = timedelta(seconds=300)
    at, past = NOW + guard, NOW + guard + timedelta(microseconds=1)
    assert judge(update(reading("soc_percent", 1, at)), fold()).outcome is Outcome.ACCEPTED
    assert judge(update(reading("soc_percent", 1, past)), fold()).reason is Reason.FUTURE_TIMESTAMP
    assert (
        judge(update(reading("soc_percent", 1, past)), fold(), future_guard_seconds=301).outcome
        is Outcome.ACCEPTED
    )


def test_an_instant_of_another_time_zone_is_kept_in_utc() -> None:
    device = fold()
    judge(update(reading("soc_percent", 1, NOW.astimezone(timezone(timedelta(hours=2))))), device)
    assert values_of(device)["soc_percent"][1].tzinfo is UTC
    assert device.events[0].readings[0].observed_at.tzinfo is UTC


def test_last_update_received_never_moves_back() -> None:
    device = fold(last_update_received_at=NOW, last_changed_at=NOW, last_observed_at=NOW)
    judge(update(reading("soc_percent", 1, ago(minutes=9)), received_at=ago(minutes=8)), device)
    assert (
        device.version,
        device.last_update_received_at,
        device.last_changed_at,
        device.last_observed_at,
    ) == (
        1,
        NOW,
        NOW,
        NOW,
    )


def test_the_same_value_again_is_received_but_not_changed() -> None:
    device = fold(document={"soc_percent": (80, ago(minutes=5))}, last_changed_at=ago(minutes=5))
    judge(update(reading("soc_percent", 80)), device)
    assert (device.last_update_received_at, device.last_changed_at) == (NOW, ago(minutes=5))


def test_zero_and_false_are_values() -> None:
    device = fold(document={"soc_percent": (0, NOW), "charging": (False, NOW)})
    assert (
        judge(update(reading("soc_percent", 0), reading("charging", False)), device).outcome
        is Outcome.DUPLICATE
    )


def test_an_exception_leaves_the_fold_as_it_was() -> None:
    device = fold(document={"soc_percent": (80, ago(minutes=5))})
    before = astuple(deepcopy(device))
    yesterday: Any = "yesterday"
    readings = (reading("soc_percent", 81), reading("speed_kmh", 1, yesterday))
    with pytest.raises(AttributeError):
        judge(update(*readings), device)
    assert astuple(device) == before
