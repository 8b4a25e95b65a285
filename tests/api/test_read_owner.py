"""Reads of one workspace: by core or by its legacy system, never by both (D-010)."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest

from domain.parity import DeviceView, ShownValue
from ports.legacy import LegacyUnfit, LegacyUnreachable, UnfitItem
from tests.api.harness import BUSES, later
from tests.api.legacy_reads import heard, read_from, show

if TYPE_CHECKING:
    from tests.api.harness import Harness

MINUTE = 60.0
NORTH = "/workspaces/north"
LISTS = (f"{NORTH}/health", f"{NORTH}/issues", f"{NORTH}/snapshots")
PATHS = (*LISTS, f"{NORTH}/snapshots/bus-1")
UNREACHABLE = LegacyUnreachable("the legacy system answered 503", retry_after=7.0)


async def prepare(harness: Harness, owner: str = "legacy") -> None:
    """At noon core hears bus-1 with 80, and so does the legacy system with 40, a minute before.

    The other buses are stale in the legacy system, and never heard in core.
    """
    await harness.report("bus-1", soc_percent=80.0)
    show(
        harness,
        bus_1=heard(later(-MINUTE), soc_percent=40.0),
        bus_2=heard(later(-22 * MINUTE), soc_percent=41.0),
        bus_3=heard(later(-30 * MINUTE), soc_percent=42.0),
    )
    await read_from(harness, owner)


def items(answer: Any, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(item[name] for name in names) for item in answer["items"]]


async def test_health_is_judged_on_the_legacy_systems_times(harness: Harness) -> None:
    await prepare(harness)
    report = await harness.get(f"{NORTH}/health")
    assert report["served_by"] == "legacy"
    names = ("device_id", "state", "reason", "freshness_age_seconds", "served_by")
    assert items(report, *names) == [
        ("bus-1", "healthy", "reporting", 60.0, "legacy"),
        ("bus-2", "stale", "device_silent", 1320.0, "legacy"),
        ("bus-3", "stale", "device_silent", 1800.0, "legacy"),
    ]
    assert {name: count for name, count in report["counts"].items() if count} == {
        "healthy": 1,
        "stale": 2,
    }
    statement = report["items"][0]["evidence"]["statement"]
    assert statement["kind"] == "named"


async def test_the_query_picks_the_other_source(harness: Harness) -> None:
    await prepare(harness)
    core = await harness.get(f"{NORTH}/health?read_owner=core")
    assert core["served_by"] == "core"
    assert items(core, "device_id", "state", "served_by")[:2] == [
        ("bus-1", "healthy", "core"),
        ("bus-2", "awaiting-first-data", "core"),
    ]
    await read_from(harness, "core")
    assert (await harness.get(f"{NORTH}/health"))["served_by"] == "core"
    assert (await harness.get(f"{NORTH}/health?read_owner=legacy"))["served_by"] == "legacy"


async def test_issues_are_filtered_and_sorted_as_cores_are(harness: Harness) -> None:
    await prepare(harness)
    report = await harness.get(f"{NORTH}/issues")
    assert items(report, "device_id", "silent_for_seconds") == [
        ("bus-3", 1800.0),
        ("bus-2", 1320.0),
    ]
    assert report["workspace_outage"] is None
    none = await harness.get(f"{NORTH}/issues?state=configured-no-data")
    assert (none["items"], none["counts"]["stale"]) == ([], 2)
    assert (await harness.get(f"{NORTH}/issues?tag=line 7"))["items"] == []


async def test_an_inactive_workspace_has_no_issues_here_either(harness: Harness) -> None:
    await prepare(harness)
    body = {"name": "North", "active": False}
    await harness.ask("PUT", NORTH, json=body, headers={"If-Match": "*"})
    assert (await harness.get(f"{NORTH}/issues"))["items"] == []
    assert len((await harness.get(f"{NORTH}/health"))["items"]) == 3


async def test_snapshots_show_the_legacy_systems_values(harness: Harness) -> None:
    await prepare(harness)
    listed = await harness.get(f"{NORTH}/snapshots")
    assert listed["served_by"] == "legacy"
    values = {item["device_id"]: item["values"]["soc_percent"]["value"] for item in listed["items"]}
    assert values == {"bus-1": 40.0, "bus-2": 41.0, "bus-3": 42.0}
    one = await harness.get(f"{NORTH}/snapshots/bus-1")
    assert one == listed["items"][0]
    assert (one["served_by"], one["version"], one["freshness_age_seconds"]) == ("legacy", None, 60)
    core = await harness.get(f"{NORTH}/snapshots/bus-1?read_owner=core")
    assert (core["served_by"], core["version"]) == ("core", 1)
    assert core["values"]["soc_percent"]["value"] == 80.0


async def test_a_value_without_a_time_says_so(harness: Harness) -> None:
    await prepare(harness)
    values = {
        "soc_percent": ShownValue(40.0, None),
        "position": ShownValue((52.1, 5.1), later(-120)),
    }
    show(harness, bus_1=DeviceView(values, later(-MINUTE)))
    shown = (await harness.get(f"{NORTH}/snapshots/bus-1"))["values"]
    assert {name: (one["observed_at"], one["age_seconds"]) for name, one in shown.items()} == {
        "latitude_deg": ("2026-05-01T11:58:00Z", 120.0),
        "longitude_deg": ("2026-05-01T11:58:00Z", 120.0),
        "soc_percent": (None, 60.0),
    }


async def test_a_device_that_legacy_lacks_is_shown_without_values(harness: Harness) -> None:
    await prepare(harness)
    show(harness, bus_2=heard(later(-MINUTE)), stranger=heard(later(-MINUTE)))
    report = await harness.get(f"{NORTH}/health")
    assert items(report, "device_id", "state") == [
        ("bus-1", "awaiting-first-data"),
        ("bus-2", "healthy"),
        ("bus-3", "awaiting-first-data"),
    ]
    assert (await harness.get(f"{NORTH}/snapshots/bus-1"))["values"] == {}


async def test_a_retired_device_is_found_and_a_stranger_is_not(harness: Harness) -> None:
    await prepare(harness)
    await harness.ask("DELETE", f"{NORTH}/devices/bus-1", headers={"If-Match": "*"})
    one = await harness.get(f"{NORTH}/snapshots/bus-1")
    assert one["values"]["soc_percent"]["value"] == 40.0
    assert [item["device_id"] for item in (await harness.get(f"{NORTH}/snapshots"))["items"]] == [
        "bus-2",
        "bus-3",
    ]
    missing = await harness.ask("GET", f"{NORTH}/snapshots/bus-9")
    assert (missing.status, missing.problem) == (404, "not-found")


async def test_an_item_that_cannot_be_read_is_told_in_the_evidence(harness: Harness) -> None:
    await prepare(harness)
    known = harness.legacy.values_of["north"]
    views = {**known.views, "bus-2": DeviceView({}, None, is_readable=False)}
    unfit = UnfitItem("bus-2", "/values/received_at", "it is no instant", b"")
    harness.legacy.values_of["north"] = known._replace(views=views, unfit=(unfit,), unfit_count=1)
    item = (await harness.get(f"{NORTH}/health"))["items"][1]
    statement = item["evidence"]["statement"]
    assert (statement["kind"], statement["detail"]) == (
        "error",
        "/values/received_at: it is no instant",
    )


# --- Refusals


@pytest.mark.parametrize("path", PATHS)
async def test_an_unreachable_legacy_system_is_a_502_and_never_core(
    harness: Harness, path: str
) -> None:
    await prepare(harness)
    harness.legacy.faults["north"] = UNREACHABLE
    answer = await harness.ask("GET", path)
    assert (answer.status, answer.problem) == (502, "legacy-unreachable")
    assert answer.headers["retry-after"] == "7"
    assert answer.json["detail"] == (
        "The legacy system answered 503. Core's own values are at `?read_owner=core`."
    )
    assert (await harness.get(f"{path}?read_owner=core"))["served_by"] == "core"


@pytest.mark.parametrize("path", PATHS)
async def test_an_unfit_answer_is_a_502_with_the_expression(harness: Harness, path: str) -> None:
    await prepare(harness)
    harness.legacy.faults["north"] = LegacyUnfit("data.state", "it does not fit", b"secret sample")
    answer = await harness.ask("GET", path)
    assert (answer.status, answer.problem) == (502, "legacy-unfit")
    assert answer.json["expression"] == "data.state"
    assert b"secret sample" not in answer.body


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_legacy_system_it_cannot_be_picked(harness: Harness, path: str) -> None:
    answer = await harness.ask("GET", f"{path}?read_owner=legacy")
    assert (answer.status, answer.problem) == (409, "legacy-missing")
    assert "configure `legacy`" in answer.json["detail"]
    unknown = await harness.ask("GET", f"{path}?read_owner=both")
    assert (unknown.status, unknown.pointers) == (400, ["read_owner"])


# --- Pages


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("owners", [("legacy", "core"), ("core", "legacy")])
async def test_a_cursor_does_not_go_on_under_the_other_source(
    harness: Harness, path: str, owners: tuple[str, str]
) -> None:
    before, after = owners
    await prepare(harness, before)
    harness.let_pass(2 * 3600)  # so that core has three issues, too
    first = await harness.get(f"{path}?limit=1")
    following = f"{path}?limit=1&cursor={first['next_cursor']}"
    await read_from(harness, after)
    answer = await harness.ask("GET", following)
    assert (answer.status, answer.problem) == (409, "source-changed")
    # `read_owner` keeps the source, and so does switching back.
    second = await harness.get(f"{following}&read_owner={before}")
    assert second["served_by"] == first["served_by"] == before
    await read_from(harness, before)
    assert await harness.get(following) == second


@pytest.mark.parametrize("path", LISTS)
async def test_pages_are_complete_and_ask_the_legacy_system_once(
    harness: Harness, path: str
) -> None:
    await prepare(harness)
    harness.let_pass(2 * 3600)
    pages = await harness.walk(f"{path}?limit=1")
    devices = [item["device_id"] for page in pages for item in page["items"]]
    assert sorted(devices) == list(BUSES)
    assert {page["evaluated_at"] for page in pages} == {"2026-05-01T14:00:00Z"}
    assert harness.legacy.asked == ["north"]


async def test_each_list_asks_anew(harness: Harness) -> None:
    await prepare(harness)
    for _ in range(2):
        await harness.get(f"{NORTH}/health?limit=1")
    assert harness.legacy.asked == ["north", "north"]


# --- CSV


@pytest.mark.parametrize("path", [f"{NORTH}/health", f"{NORTH}/issues"])
@pytest.mark.parametrize("owner", ["legacy", "core"])
async def test_a_csv_says_whose_values_it_has(harness: Harness, path: str, owner: str) -> None:
    await prepare(harness, owner)
    harness.let_pass(2 * 3600)
    answer = await harness.ask("GET", f"{path}?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert answer.headers["served-by"] == owner
    assert {row["served_by"] for row in rows} == {owner}
    assert sorted(row["device_id"] for row in rows) == list(BUSES)
