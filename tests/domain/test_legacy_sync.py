"""The plan of a synchronisation: which devices an answer creates, changes, returns and retires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.legacy_sync import (
    HeldBackWhy,
    RegistryAnswer,
    SyncedDevice,
    SyncMemory,
    SyncOutcome,
    SyncPlan,
    leaves_out_too_many,
    plan_sync,
    recall,
)
from domain.registry import DeviceDraft

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
VINS = {"steady": False, "maker": True}


def bus(number: int, **rest: Any) -> SyncedDevice:
    """Bus 1 has unit x-1 in vehicle B 1."""
    name = f"x-{number}"
    plain = SyncedDevice(f"bus-{number}", "steady", name, name, f"B {number}", f"Bus {number}")
    return plain._replace(**rest)


def says(number: int, **rest: Any) -> DeviceDraft:
    """Return bus 1 as the legacy registry has it."""
    stored = bus(number)
    plain = DeviceDraft(
        stored.device_id, "steady", stored.external_id, stored.vehicle_id, stored.vehicle_name
    )
    return plain._replace(**rest)


FLEET = [bus(number) for number in range(1, 31)]


def plan(
    drafts: list[DeviceDraft],
    stored: list[SyncedDevice] = FLEET,
    *,
    left_out: set[str] | None = None,
    doubted: bool = False,
    **answer: Any,
) -> SyncPlan:
    forced = answer.pop("forced", False)
    memory = SyncMemory(7, frozenset(left_out or ()), doubted)
    return plan_sync(RegistryAnswer(drafts, **answer), stored, memory, VINS, NOON, forced=forced)


def without(*numbers: int) -> list[DeviceDraft]:
    """Return the fleet of 30 without these."""
    return [says(number) for number in range(1, 31) if number not in numbers]


def whys(planned: SyncPlan) -> dict[str, HeldBackWhy]:
    return {held.device_id: held.why for held in planned.held_back}


def test_the_same_fleet_changes_nothing() -> None:
    planned = plan(without())
    nothing = SyncPlan(SyncOutcome.SYNCED, [], [], frozenset(), [], [], 30, frozenset(), False)
    assert planned == nothing


@pytest.mark.parametrize(
    "draft",
    [
        says(31),
        says(1, vehicle_name="Renamed"),
        says(1, external_id="x-99"),
        says(1, vehicle_id="B 99"),
        says(1, provider_id="maker"),
    ],
)
def test_what_differs_is_a_draft(draft: DeviceDraft) -> None:
    others = [one for one in without() if one.device_id != draft.device_id]
    assert plan([*others, draft]).drafts == [draft]


# Departures


def test_a_device_is_retired_by_the_second_answer_without_it() -> None:
    first = plan(without(4))
    assert (first.retiring, first.left_out) == (frozenset(), frozenset({"bus-4"}))
    assert whys(first) == {"bus-4": HeldBackWhy.ONCE}
    second = plan(without(4, 5), left_out=set(first.left_out))
    assert (second.retiring, second.left_out) == (frozenset({"bus-4"}), frozenset({"bus-5"}))


def test_a_device_that_was_named_meanwhile_is_left_out_anew() -> None:
    named = plan(without(5), left_out={"bus-4"})
    assert (named.retiring, named.left_out) == (frozenset(), frozenset({"bus-5"}))


@pytest.mark.parametrize(
    ("left_out", "active", "too_many"),
    [
        (0, 0, False),
        (1, 1, True),
        (1, 2, False),
        (2, 2, True),
        (2, 3, False),
        (3, 4, True),
        (2, 29, False),
        (3, 29, True),
        (3, 30, False),
        (4, 39, True),
        (10, 100, False),
        (11, 100, True),
    ],
)
def test_more_than_two_and_a_tenth_or_all_are_too_many(
    left_out: int, active: int, too_many: bool
) -> None:
    assert leaves_out_too_many(left_out, active) is too_many


@pytest.mark.parametrize("drafts", [[], without()[:15], without(1, 2, 3, 4)])
def test_a_doubted_answer_retires_nobody(drafts: list[DeviceDraft]) -> None:
    names = {one.device_id for one in FLEET}
    planned = plan(drafts, left_out=names)
    assert (planned.outcome, planned.retiring) == (SyncOutcome.DOUBTED, frozenset())
    assert set(whys(planned).values()) == {HeldBackWhy.TOO_MANY}
    assert planned.doubted
    assert planned.left_out == names - {one.device_id for one in drafts}


def test_a_doubted_answer_is_not_the_first_of_two() -> None:
    planned = plan(without(4), left_out={"bus-4"}, doubted=True)
    assert (planned.outcome, planned.retiring) == (SyncOutcome.SYNCED, frozenset())
    assert whys(planned) == {"bus-4": HeldBackWhy.TOO_MANY_BEFORE}
    assert (planned.left_out, planned.doubted) == (frozenset({"bus-4"}), False)


def test_force_believes_both_answers_but_needs_two() -> None:
    planned = plan(without(1, 2, 3, 4), left_out={"bus-2", "bus-3"}, doubted=True, forced=True)
    assert planned.retiring == {"bus-2", "bus-3"}
    assert whys(planned) == {"bus-1": HeldBackWhy.ONCE, "bus-4": HeldBackWhy.ONCE}
    assert (planned.outcome, planned.doubted) == (SyncOutcome.SYNCED, False)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("doubted", [False, True])
def test_an_incomplete_answer_can_only_clear_a_device(forced: bool, doubted: bool) -> None:
    planned = plan(
        without(4, 6),
        left_out={"bus-4", "bus-5"},
        doubted=doubted,
        is_complete=False,
        forced=forced,
    )
    assert (planned.outcome, planned.retiring) == (SyncOutcome.INCOMPLETE, frozenset())
    assert (planned.left_out, planned.doubted) == (frozenset({"bus-4"}), doubted)
    assert whys(planned) == dict.fromkeys(("bus-4", "bus-6"), HeldBackWhy.INCOMPLETE)


def test_an_answer_under_other_flags_is_forgotten() -> None:
    memory = SyncMemory(7, frozenset({"bus-4"}), True)
    assert recall(memory, 7) is memory
    assert recall(memory, 8) == SyncMemory(8)
    assert recall(None, 8) == SyncMemory(8)


# Returns

RETIRED = bus(1, retired_at=NOON - timedelta(days=1))


def test_a_device_that_returns_within_a_day_continues() -> None:
    renamed = says(1, vehicle_name="Renamed", vehicle_id="B 1 ")
    planned = plan([renamed], [RETIRED])
    assert (planned.returning, planned.drafts) == ([renamed], [])


@pytest.mark.parametrize(
    ("draft", "retired_seconds_ago"),
    [
        (says(1), 86_400.001),
        (says(1, external_id="x-2"), 60),
        (says(1, vehicle_id="B 2"), 60),
        (says(1, provider_id="maker"), 60),
    ],
)
def test_a_later_or_another_return_begins_anew(
    draft: DeviceDraft, retired_seconds_ago: float
) -> None:
    retired = bus(1, retired_at=NOON - timedelta(seconds=retired_seconds_ago))
    planned = plan([draft], [retired])
    assert (planned.returning, planned.drafts) == ([], [draft])


def test_a_retired_device_is_not_left_out_again() -> None:
    planned = plan([], [RETIRED])
    assert (planned.left_out, planned.held_back) == (frozenset(), [])


# Without our ids


def test_without_our_ids_a_device_is_found_by_its_unit() -> None:
    maker = bus(2, provider_id="maker", external_id="yv1", external_key="YV1")
    there = [
        says(1, device_id="x-1"),
        says(2, device_id="Yv1 ", provider_id="maker", external_id="Yv1 "),
    ]
    planned = plan(there, [bus(1), maker], has_our_ids=False)
    assert planned.drafts == [says(2, provider_id="maker", external_id="Yv1 ")]
    assert (planned.unchanged, planned.left_out) == (1, frozenset())


def test_without_our_ids_an_active_holder_comes_first() -> None:
    older = bus(1, device_id="old", retired_at=NOON - timedelta(hours=3))
    newer = bus(1, device_id="new", retired_at=NOON - timedelta(hours=2))
    drafts = [says(1, device_id="x-1")]
    assert plan(drafts, [newer, older], has_our_ids=False).returning == [says(1, device_id="new")]
    assert plan(drafts, [newer, older, bus(1)], has_our_ids=False).unchanged == 1


@pytest.mark.parametrize(
    ("drafts", "field"),
    [
        ([says(7, external_id="not an id")], "external_id"),
        ([says(7, external_id="bus-1")], "device_id"),
        ([says(7), says(7, provider_id="maker")], "device_id"),
    ],
)
def test_without_our_ids_a_new_device_needs_a_free_id(
    drafts: list[DeviceDraft], field: str
) -> None:
    there = [one._replace(device_id=one.external_id) for one in [says(1), *drafts]]
    planned = plan(there, [bus(1)], has_our_ids=False)
    assert [one.field for one in planned.refused] == [field]
    assert len(planned.drafts) == len(drafts) - 1


def test_a_device_that_is_there_twice_costs_only_its_second_form() -> None:
    planned = plan([says(1), says(1, vehicle_name="Other"), says(1)], [bus(1)])
    assert (planned.unchanged, planned.drafts) == (1, [])
    assert [one.detail for one in planned.refused] == ["The answer has this device twice."]
