"""Lists across workspaces, of which some are shown by their legacy systems."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest

from ports.legacy import LegacyUnfit, LegacyUnreachable
from tests.api.harness import later
from tests.api.legacy_reads import heard, read_from, show

if TYPE_CHECKING:
    from tests.api.harness import Harness

MINUTE = 60.0
FAULTS: dict[str, LegacyUnreachable | LegacyUnfit] = {
    "legacy-unreachable": LegacyUnreachable("the legacy system answered 503"),
    "legacy-unfit": LegacyUnfit("data.state", "no list of items"),
}


async def prepare(harness: Harness) -> None:
    """North is shown by its legacy system, south by core. Both have issues, one hour later."""
    for minutes, bus in enumerate(("bus-1", "bus-2", "bus-3")):
        await harness.report(bus, workspace="south", soc_percent=80.0)
        harness.let_pass(MINUTE)
        assert minutes < 3
    show(
        harness,
        bus_1=heard(later(30.0)),
        bus_2=heard(later(90.0)),
        bus_3=heard(later(3600.0)),
    )
    await read_from(harness, "legacy")
    harness.let_pass(3600.0 - 3 * MINUTE)


def named(answer: Any) -> list[tuple[str, str, str]]:
    return [
        (item["workspace_id"], item["device_id"], item["served_by"]) for item in answer["items"]
    ]


MERGED = [
    ("south", "bus-1", "core"),
    ("north", "bus-1", "legacy"),
    ("south", "bus-2", "core"),
    ("north", "bus-2", "legacy"),
    ("south", "bus-3", "core"),
]


async def test_devices_of_both_sources_come_in_one_order(harness: Harness) -> None:
    await prepare(harness)
    worklist = await harness.get("/worklist")
    assert named(worklist) == MERGED
    assert {name: count for name, count in worklist["counts"].items() if count} == {
        "stale": 5,
        "healthy": 1,
    }
    assert worklist["unavailable_workspaces"] == []


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_both_sources_are_complete(harness: Harness, limit: int) -> None:
    await prepare(harness)
    pages = await harness.walk(f"/worklist?limit={limit}")
    assert [one for page in pages for one in named(page)] == MERGED
    assert harness.legacy.asked == ["north"]


@pytest.mark.parametrize("reason", FAULTS)
async def test_a_workspace_that_is_not_available_is_named(harness: Harness, reason: str) -> None:
    await prepare(harness)
    harness.legacy.faults["north"] = FAULTS[reason]
    worklist = await harness.get("/worklist")
    assert worklist["unavailable_workspaces"] == [
        {"workspace_id": "north", "reason": reason, "detail": str(FAULTS[reason])}
    ]
    assert named(worklist) == [one for one in MERGED if one[0] == "south"]
    assert sum(worklist["counts"].values()) == 3


async def test_a_key_learns_only_of_its_own_workspaces(harness: Harness) -> None:
    await prepare(harness)
    harness.legacy.fault = FAULTS["legacy-unreachable"]
    await read_from(harness, "legacy", "south")
    worklist = await harness.get("/worklist", key="north")
    assert [one["workspace_id"] for one in worklist["unavailable_workspaces"]] == ["north"]
    south = await harness.get("/worklist?workspace_id=south")
    assert [one["workspace_id"] for one in south["unavailable_workspaces"]] == ["south"]


@pytest.mark.parametrize("workspace", ["north", "south"])
async def test_a_cursor_ends_when_a_source_changes(harness: Harness, workspace: str) -> None:
    await prepare(harness)
    first = await harness.get("/worklist?limit=1")
    await read_from(harness, "core" if workspace == "north" else "legacy", workspace)
    asked = len(harness.legacy.asked)
    answer = await harness.ask("GET", f"/worklist?limit=1&cursor={first['next_cursor']}")
    assert (answer.status, answer.problem) == (409, "source-changed")
    assert len(harness.legacy.asked) == asked


async def test_a_csv_names_what_is_not_available_first(harness: Harness) -> None:
    await prepare(harness)
    answer = await harness.ask("GET", "/worklist?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    read = [(row["workspace_id"], row["device_id"], row["served_by"]) for row in rows]
    assert read == MERGED
    harness.legacy.faults["north"] = FAULTS["legacy-unreachable"]
    answer = await harness.ask("GET", "/worklist?format=csv")
    first, *rest = csv.DictReader(io.StringIO(answer.body.decode()))
    assert {name: cell for name, cell in first.items() if cell} == {
        "workspace_id": "north",
        "state": "unavailable",
        "reason": "legacy-unreachable",
        "served_by": "legacy",
    }
    assert {row["workspace_id"] for row in rest} == {"south"}


async def test_workspaces_are_counted_by_the_system_that_shows_them(harness: Harness) -> None:
    await prepare(harness)
    north, south = (await harness.get("/workspaces"))["items"]
    assert (north["served_by"], north["counts"]["stale"], north["counts"]["healthy"]) == (
        "legacy",
        2,
        1,
    )
    assert (south["served_by"], south["counts"]["stale"]) == ("core", 3)


async def test_a_workspace_that_nobody_can_count_has_no_counts(harness: Harness) -> None:
    await prepare(harness)
    harness.legacy.faults["north"] = FAULTS["legacy-unreachable"]
    listed = await harness.get("/workspaces")
    assert [one["counts"] is None for one in listed["items"]] == [True, False]
    (missing,) = listed["unavailable_workspaces"]
    assert (missing["workspace_id"], missing["reason"]) == ("north", "legacy-unreachable")
