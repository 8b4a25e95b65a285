"""Cutting what was collected into submissions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from actors.submissions import MAX_UNKNOWN_DEVICES, UnknownDevices, make_update, split
from domain.model import (
    CursorAdvance,
    Device,
    InvalidItem,
    Ownership,
    Reading,
    Reason,
    Submission,
)
from domain.resource import workspace_resource
from tests.actors.harness import HARBOUR, STEADY, update
from tests.actors.instants import NOON

if TYPE_CHECKING:
    from collections.abc import Sequence

BUS_1 = Device(HARBOUR, "bus-1", STEADY, "x-bus-1", "v-bus-1", "Bus 1", NOON)
OWNER = Ownership(workspace_resource("harbour"), "shard-1", 1, 1)


def make(count: int) -> Submission:
    return Submission(
        "poll",
        "trace-1",
        tuple(update("bus-1", number, soc_percent=1) for number in range(count)),
        ownership=OWNER,
        cursor=CursorAdvance(HARBOUR, STEADY, "c-1"),
    )


def sizes(parts: Sequence[Submission]) -> list[int]:
    return [len(part.updates) for part in parts]


@given(st.integers(0, 2_100))
def test_parts_keep_content_and_order_and_none_is_too_large(count: int) -> None:
    whole = make(count)
    parts = split(whole)
    assert [one for part in parts for one in part.updates] == list(whole.updates)
    assert max(sizes(parts)) <= 500
    assert 0 not in sizes(parts) or count == 0
    assert {(part.origin, part.trace_id, part.ownership) for part in parts} == {
        ("poll", "trace-1", OWNER)
    }
    assert [part.cursor for part in parts] == [None] * (len(parts) - 1) + [whole.cursor]


def test_a_small_submission_is_not_cut() -> None:
    whole = make(500)
    assert split(whole) == [whole]
    assert sizes(split(make(501))) == [500, 1]


def test_an_update_names_its_device_and_keeps_the_external_id() -> None:
    readings = (Reading("soc_percent", 50.0, NOON),)
    made = make_update((HARBOUR, STEADY), "x-bus-1", BUS_1, readings, NOON, "trace-1")
    assert (made.device_id, made.external_id, made.vehicle_id) == ("bus-1", "x-bus-1", None)
    stranger = make_update((HARBOUR, STEADY), "x-stranger", None, readings, NOON, "trace-1")
    assert (stranger.device_id, stranger.external_id) == (None, "x-stranger")


def test_a_hundred_unknown_devices_are_always_let_through() -> None:
    unknown, known = UnknownDevices(), {"x-bus-1": BUS_1}
    for _ in range(2):
        admitted = [unknown.admits(f"stranger-{number}", known) for number in range(120)]
        assert admitted == [True] * MAX_UNKNOWN_DEVICES + [False] * 20
    assert unknown.dropped == 40
    assert unknown.admits("x-bus-1", known)


@given(st.integers(0, 1_200), st.integers(0, 1_200))
def test_invalid_items_follow_the_updates_in_parts_of_500(updates: int, invalid: int) -> None:
    items = tuple(
        InvalidItem(HARBOUR, STEADY, str(number), Reason.MALFORMED, "", b"")
        for number in range(invalid)
    )
    parts = split(replace(make(updates), invalid=items))
    assert tuple(item for part in parts for item in part.invalid) == items
    assert sum(len(part.updates) for part in parts) == updates
    assert max(len(part.invalid) for part in parts) <= 500
    first_bad = next((n for n, part in enumerate(parts) if part.invalid), len(parts))
    assert not any(part.updates for part in parts[first_bad + 1 :])
    assert [part.cursor is not None for part in parts] == [False] * (len(parts) - 1) + [True]
