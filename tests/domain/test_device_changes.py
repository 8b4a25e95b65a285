"""Which drafts of devices are refused, and which assignments begin and end with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.assignments import BEGINNING, DeviceAssignment, VehicleSpan
from domain.device_changes import (
    Registered,
    judge_drafts,
    plan_changes,
    refuse_retired,
    refuse_same_ids,
    swap_draft,
)
from domain.model import Device
from domain.registry import Answer, Conflict, DeviceDraft, NotFound, Stored, Swap

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BUS = DeviceDraft("bus-1", "steady", "x-1", "B 1", "Bus 1")
STORED = Device("harbour", "bus-1", "steady", "x-1", "B 1", "Bus 1", NOON - 5 * HOUR)
PRESENT = DeviceAssignment(
    *("harbour", "bus-1", 1, "steady", "x-1", "x-1", "B 1", "Bus 1"),
    effective_at=NOON - 5 * HOUR,
    entered_at=NOON - 5 * HOUR,
)


def known(device: Device | None = STORED, *former: DeviceAssignment, **changes: Any) -> Registered:
    """What is stored: the connection, this device with its assignment, and others of its unit."""
    present = {} if device is None else {"bus-1": PRESENT}
    plain = Registered(
        {"steady": False},
        {} if device is None else {"bus-1": device},
        {} if device is None or device.retired_at else {("steady", "x-1"): "bus-1"},
        {("steady", "x-1"): [*present.values(), *former]},
        present,
    )
    return plain._replace(**changes)


def judged(draft: DeviceDraft, stored: Registered, *, may_swap: bool = True) -> Answer:
    (answer,) = judge_drafts([draft], stored, NOON, may_swap=may_swap)
    return answer


def field_of(answer: Answer) -> str | None:
    return answer.field if isinstance(answer, Conflict) else None


@pytest.mark.parametrize(
    ("draft", "answer"),
    [
        (BUS, Conflict("device bus-1 is given twice", "device_id")),
        (
            BUS._replace(device_id="bus-2"),
            Conflict("external id x-1 is given twice", "external_id"),
        ),
        (
            BUS._replace(device_id="bus-2", external_id="x-9"),
            Conflict("external id x-9 belongs to active device bus-9", "external_id"),
        ),
        (
            BUS._replace(device_id="bus-2", external_id="x-2", grace_seconds=0.0),
            Conflict("must be above 0", "grace_seconds"),
        ),
        (BUS._replace(device_id="bus-2", provider_id="nobody"), NotFound("provider nobody")),
        (BUS._replace(device_id="bus-2", external_id="x-2"), Stored(created=True)),
    ],
)
def test_each_draft_is_judged_after_those_before_it(draft: DeviceDraft, answer: Answer) -> None:
    known = Registered({"steady": False}, {}, {("steady", "x-9"): "bus-9"}, {}, {})
    assert judge_drafts([BUS, draft], known, NOON) == [Stored(created=True), answer]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"external_id": "x-2"}, "external_id"),
        ({"vehicle_id": "B 2"}, "vehicle_id"),
        ({"provider_id": "other"}, "provider_id"),
    ],
)
def test_an_active_device_keeps_its_unit_and_vehicle(changes: dict[str, Any], field: str) -> None:
    stored = known(providers={"steady": False, "other": False})
    refused = judged(BUS._replace(**changes), stored, may_swap=False)
    assert field_of(refused) == field
    assert "/devices/bus-1/swap" in str(refused)
    assert judged(BUS._replace(**changes), stored) == Stored(created=False, swapped=True)


@pytest.mark.parametrize(
    "draft",
    [
        BUS,
        BUS._replace(vehicle_name="Renamed", grace_seconds=60.0),
        BUS._replace(external_id=" x-1 ", vehicle_id="B 1 "),
        BUS._replace(activated_at=NOON),
    ],
)
def test_spelling_name_and_limits_of_an_active_device_may_change(draft: DeviceDraft) -> None:
    assert judged(draft, known(), may_swap=False) == Stored(created=False)
    assert [change.begun for change in plan_changes("harbour", [draft], known(), NOON)] in (
        [],
        [None],
    )


OTHER = replace(STORED, device_id="bus-2", external_id="x-2", vehicle_id="B 2")


def two_devices() -> Registered:
    """Bus 1 with unit x-1, and bus 2 with unit x-2."""
    second = replace(PRESENT, device_id="bus-2", external_id="x-2", external_key="x-2")
    second = replace(second, vehicle_id="B 2")
    return known(
        devices={"bus-1": STORED, "bus-2": OTHER},
        holders={("steady", "x-1"): "bus-1", ("steady", "x-2"): "bus-2"},
        assignments={("steady", "x-1"): [PRESENT], ("steady", "x-2"): [second]},
        present={"bus-1": PRESENT, "bus-2": second},
    )


BUS_2 = BUS._replace(device_id="bus-2", vehicle_id="B 2")
TWICE = Conflict("external id x-1 is given twice", "external_id")
TAKEN = Conflict("external id x-1 belongs to active device bus-1", "external_id")


@pytest.mark.parametrize(
    ("drafts", "may_swap", "answers"),
    [
        ([BUS._replace(external_id="x-2"), BUS_2], True, [Stored(False, True)] * 2),
        ([BUS_2, BUS._replace(external_id="x-2")], True, [Stored(False, True)] * 2),
        ([BUS._replace(external_id="x-9"), BUS_2], True, [Stored(False, True)] * 2),
        ([BUS, BUS_2], True, [Stored(False), TWICE]),
        ([BUS_2], True, [TAKEN]),
        ([BUS_2, BUS._replace(vehicle_id="B 9", external_id="x-9")], False, [TAKEN, None]),
    ],
    ids=["exchange", "other order", "chain", "twice", "alone", "without swap"],
)
def test_a_unit_that_is_given_up_in_the_command_is_free(
    drafts: list[DeviceDraft], may_swap: bool, answers: list[Answer | None]
) -> None:
    judged = judge_drafts(drafts, two_devices(), NOON, may_swap=may_swap)
    assert [given for given, told in zip(judged, answers, strict=True) if told] == [
        told for told in answers if told
    ]


def test_units_that_change_places_were_in_the_other_vehicle() -> None:
    drafts = [BUS._replace(external_id="x-2"), BUS_2]
    first, second = plan_changes("harbour", drafts, two_devices(), NOON)
    assert (first.device.external_id, second.device.external_id) == ("x-2", "x-1")
    assert first.device.other_spans == second.device.other_spans == (VehicleSpan(BEGINNING, NOON),)


def test_a_vin_in_another_case_is_the_same_unit() -> None:
    vin = replace(STORED, external_id="X-1", ids_are_vins=True)
    stored = known(vin, providers={"steady": True}, holders={("steady", "X-1"): "bus-1"})
    assert judged(BUS, stored, may_swap=False) == Stored(created=False)
    other = judged(BUS._replace(device_id="bus-2"), stored)
    assert field_of(other) == "external_id"


@pytest.mark.parametrize(
    ("effective_at", "field"),
    [
        (NOON + timedelta(seconds=1), "effective_at"),
        (NOON, None),
        (PRESENT.effective_at, None),
        (PRESENT.effective_at - timedelta(seconds=1), "effective_at"),
    ],
)
def test_a_swap_lies_between_the_present_start_and_now(
    effective_at: datetime, field: str | None
) -> None:
    draft = swap_draft(Swap(external_id="x-2", effective_at=effective_at), STORED)
    assert field_of(judged(draft, known())) == field


def test_a_swap_ends_one_assignment_and_begins_the_next() -> None:
    draft = swap_draft(Swap(external_id="x-2", effective_at=NOON - HOUR), STORED)
    (change,) = plan_changes("harbour", [draft], known(), NOON)
    assert change.ends_at == NOON - HOUR
    assert change.begun is not None
    assert (change.begun.assignment, change.begun.effective_at) == (2, NOON - HOUR)
    assert (change.begun.entered_at, change.begun.external_id) == (NOON, "x-2")
    # Grace counts from the entry: nobody waited for the new unit before.
    assert (change.device.activated_at, change.device.assignment) == (NOON, 2)


def test_a_swap_that_was_stored_already_changes_nothing() -> None:
    same = swap_draft(Swap(external_id="x-1"), STORED)
    assert judged(same, known()) == Stored(created=False)
    assert plan_changes("harbour", [same], known(), NOON) == []
    other_time = same._replace(effective_at=NOON - HOUR)
    assert field_of(judged(other_time, known())) == "effective_at"


def test_a_retired_device_is_not_swapped_but_put() -> None:
    assert refuse_retired(STORED) is None
    assert field_of(refuse_retired(replace(STORED, retired_at=NOON)) or Stored(False)) == (
        "device_id"
    )


@pytest.mark.parametrize(
    ("activated_at", "effective_at", "counts_from"),
    [
        (None, NOON, NOON),
        (NOON - 4 * HOUR, NOON - 2 * HOUR, NOON),
        (NOON - HOUR, NOON - HOUR, NOON),
        (NOON + timedelta(minutes=1), NOON + timedelta(minutes=1), NOON + timedelta(minutes=1)),
    ],
)
def test_a_new_activation_begins_another_assignment(
    activated_at: datetime | None, effective_at: datetime, counts_from: datetime
) -> None:
    retired = replace(STORED, retired_at=NOON - 2 * HOUR)
    draft = BUS._replace(activated_at=activated_at)
    (change,) = plan_changes("harbour", [draft], known(retired), NOON)
    assert change.begun is not None
    assert (change.begun.assignment, change.begun.effective_at) == (2, effective_at)
    assert (change.device.activated_at, change.device.retired_at) == (counts_from, None)
    assert change.ends_at is None


def test_a_unit_of_another_vehicle_brings_spans_along() -> None:
    former = replace(PRESENT, device_id="bus-9", vehicle_id="B 9", ended_at=NOON - HOUR)
    stored = known(None, former)
    (change,) = plan_changes("harbour", [BUS], stored, NOON)
    assert change.device.other_spans == (VehicleSpan(BEGINNING, NOON),)


def test_two_active_devices_cannot_come_to_the_same_id() -> None:
    one = replace(STORED, external_id="vin-1", ids_are_vins=True)
    other = replace(one, device_id="bus-2", external_id="VIN-1")
    assert field_of(refuse_same_ids([one, other]) or Stored(False)) == "provider_type"
    assert refuse_same_ids([one, replace(other, retired_at=NOON)]) is None
