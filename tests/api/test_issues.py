"""Issues and the worklist (FR-007), the longest silent device first, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest

from tests.api.harness import BUSES, Harness, draft, instant
from tests.api.standing_time import START

HOUR = 3600.0


async def _read_csv(harness: Harness, path: str, **rest: Any) -> list[dict[str, str]]:
    answer = await harness.ask("GET", path, **rest)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))


async def test_acceptance_7_issues_have_their_reason_and_recency(
    harness: Harness,
) -> None:
    await harness.report("bus-2", soc_percent=80.0)
    harness.let_pass(2 * HOUR)
    await harness.report("bus-3", soc_percent=80.0)
    await harness.run_cycle()
    report = await harness.get("/workspaces/north/issues")
    shown = [
        {
            name: item[name]
            for name in ("device_id", "vehicle_name", "state", "reason", "silent_for_seconds")
        }
        for item in report["items"]
    ]
    assert shown == [
        {
            "device_id": "bus-1",
            "vehicle_name": "Bus bus-1",
            "state": "configured-no-data",
            "reason": "never_reported",
            "silent_for_seconds": 7200.0,
        },
        {
            "device_id": "bus-2",
            "vehicle_name": "Bus bus-2",
            "state": "stale",
            "reason": "device_silent",
            "silent_for_seconds": 7200.0,
        },
    ]


async def test_acceptance_7_without_issues_the_list_is_empty(
    harness: Harness,
) -> None:
    for bus in BUSES:
        await harness.report(bus, soc_percent=80.0)
    empty = await harness.get("/workspaces/north/issues")
    assert empty == {
        "workspace_id": "north",
        "workspace_active": True,
        "time_zone": "UTC",
        "served_by": "core",
        "evaluated_at": empty["evaluated_at"],
        "counts": {
            "healthy": 3,
            "delayed": 0,
            "stale": 0,
            "configured-no-data": 0,
            "awaiting-first-data": 0,
        },
        "counted_at": empty["evaluated_at"],
        "workspace_outage": None,
        "items": [],
        "next_cursor": None,
    }
    harness.let_pass(2 * HOUR)
    full = await harness.get("/workspaces/north/issues")
    assert set(full) == set(empty)
    assert len(full["items"]) == 3


async def test_acceptance_8_a_device_is_an_issue_once_its_grace_ended(
    harness: Harness,
) -> None:
    harness.let_pass(HOUR)
    assert (await harness.get("/workspaces/north/issues"))["items"] == []
    harness.let_pass(0.001)
    items = (await harness.get("/workspaces/north/issues"))["items"]
    assert [item["device_id"] for item in items] == list(BUSES)
    assert instant(items[0]["configured_at"]) == START
    assert instant(items[0]["grace_exceeded_at"]) == START + timedelta(seconds=HOUR)


async def test_fr_007_the_worklist_begins_with_the_longest_silent_of_all(
    harness: Harness,
) -> None:
    harness.let_pass(10)
    await harness.report("bus-1", soc_percent=1.0)
    await harness.report("bus-2", soc_percent=1.0, workspace="south")
    harness.let_pass(10)
    await harness.report("bus-2", soc_percent=1.0)
    harness.let_pass(2 * HOUR)
    items = (await harness.get("/worklist"))["items"]
    assert [(item["workspace_id"], item["device_id"]) for item in items] == [
        ("north", "bus-3"),
        ("south", "bus-1"),
        ("south", "bus-3"),
        ("north", "bus-1"),
        ("south", "bus-2"),
        ("north", "bus-2"),
    ]
    assert items[0]["workspace_name"] == "North"


async def test_fr_007_the_worklist_is_sorted_by_the_vehicles_own_time_too(
    harness: Harness,
) -> None:
    """bus-1 came last, with a record of ninety days ago: by arrival it would stand last."""
    await harness.report("bus-2", soc_percent=1.0)
    await harness.report("bus-3", soc_percent=1.0)
    harness.let_pass(HOUR)
    await harness.report("bus-1", soc_percent=1.0, observed_at=START - timedelta(days=90))
    harness.let_pass(2 * HOUR)
    whole = (await harness.get("/workspaces/north/issues"))["items"]
    assert [item["device_id"] for item in whole] == ["bus-1", "bus-2", "bus-3"]
    first = whole[0]
    assert (first["silent_for_seconds"], first["away_for_seconds"]) == (
        2 * HOUR,
        90 * 86_400 + 3 * HOUR,
    )
    pages = await harness.walk("/workspaces/north/issues?limit=1")
    assert [item for page in pages for item in page["items"]] == whole
    rows = await _read_csv(harness, "/workspaces/north/issues?format=csv")
    assert [row["party"] for row in rows] == [item["party"] for item in whole]
    assert rows[0]["away_for_seconds"] == "7786800.000"


async def test_worklist_pages_show_each_issue_once_as_of_one_instant(
    harness: Harness,
) -> None:
    harness.let_pass(HOUR + 1)
    whole = await harness.get("/worklist")
    first = await harness.get("/worklist?limit=4")
    harness.let_pass(HOUR)
    await harness.stores.registry.put_devices(
        "south", [draft("bus-0", activated_at=START - timedelta(days=1))]
    )
    second = await harness.get(f"/worklist?limit=4&cursor={first['next_cursor']}")
    assert first["items"] + second["items"] == whole["items"]
    assert first["evaluated_at"] == second["evaluated_at"]
    assert second["next_cursor"] is None


async def test_a_filter_by_state_and_by_workspace(harness: Harness) -> None:
    await harness.report("bus-2", soc_percent=80.0)
    harness.let_pass(2 * HOUR)
    stale = (await harness.get("/worklist?state=stale"))["items"]
    assert [(item["workspace_id"], item["device_id"]) for item in stale] == [("north", "bus-2")]
    south = (await harness.get("/worklist?workspace_id=south&workspace_id=nowhere"))["items"]
    assert {item["workspace_id"] for item in south} == {"south"}
    refused = await harness.ask("GET", "/worklist?state=healthy")
    assert (refused.status, refused.pointers) == (400, ["state"])


@pytest.mark.parametrize(
    "ask", [{"headers": {"Accept": "text/csv"}}, {"query_string": {"format": "csv"}}]
)
async def test_the_worklist_comes_as_csv_when_asked_for(
    harness: Harness, ask: dict[str, Any]
) -> None:
    harness.let_pass(2 * HOUR)
    rows = await _read_csv(harness, "/workspaces/north/issues", **ask)
    assert [row["vehicle_name"] for row in rows] == ["Bus bus-1", "Bus bus-2", "Bus bus-3"]
    assert rows[0]["state"] == "configured-no-data"
    assert rows[0]["configured_at"] == "2026-05-01T12:00:00Z"
    assert rows[0]["silent_for_seconds"] == "7200.000"


async def test_json_stays_the_answer_for_whoever_takes_anything(harness: Harness) -> None:
    answer = await harness.ask("GET", "/worklist", headers={"Accept": "*/*"})
    assert answer.headers["content-type"] == "application/json"
    answer = await harness.ask("GET", "/worklist?format=json", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "application/json"


async def test_csv_holds_more_than_one_page_of_the_store(harness: Harness) -> None:
    many = [draft(f"d-{index:04}") for index in range(1100)]
    await harness.stores.registry.put_devices("north", many)
    harness.let_pass(2 * HOUR)
    rows = await _read_csv(harness, "/workspaces/north/issues?format=csv")
    assert len({row["device_id"] for row in rows}) == len(rows) == 1103


async def test_csv_that_does_not_hold_all_leads_to_the_rest(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.verdicts.MAX_CSV_ROWS", 1000)
    await harness.stores.registry.put_devices(
        "north", [draft(f"d-{index:04}") for index in range(1100)]
    )
    harness.let_pass(2 * HOUR)
    path = "/worklist?workspace_id=north&workspace_id=south&state=configured-no-data"
    first = await harness.ask("GET", path, headers={"Accept": "text/csv"})
    (target,) = re.findall(r'^<(\?.*)>; rel="next"$', first.headers["link"])
    harness.let_pass(HOUR)
    rest = await harness.ask("GET", f"/worklist{target}")
    rows = [
        row
        for answer in (first, rest)
        for row in csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
    ]
    assert len({(row["workspace_id"], row["device_id"]) for row in rows}) == len(rows) == 1106
    assert len({row["evaluated_at"] for row in rows}) == 1
    assert "link" not in rest.headers


async def test_a_csv_of_exactly_the_most_rows_leads_nowhere(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.verdicts.MAX_CSV_ROWS", 500)
    await harness.stores.registry.put_devices(
        "north", [draft(f"d-{index:04}") for index in range(497)]
    )
    harness.let_pass(2 * HOUR)
    answer = await harness.ask("GET", "/workspaces/north/issues?format=csv")
    assert (answer.body.count(b"\r\n"), "link" in answer.headers) == (501, False)


async def test_a_vehicle_name_does_not_become_a_formula(harness: Harness) -> None:
    await harness.stores.registry.put_devices(
        "north", [draft("bus-1", vehicle_name='=HYPERLINK("https://example.org")')]
    )
    harness.let_pass(2 * HOUR)
    rows = await _read_csv(harness, "/worklist?format=csv")
    assert rows[0]["vehicle_name"] == '\'=HYPERLINK("https://example.org")'
