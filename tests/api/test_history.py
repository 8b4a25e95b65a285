"""Snapshots, events, cycles and rejections as the API shows them."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.model import InvalidItem, Reason, Submission
from tests.api.harness import BUSES, Harness, instant
from tests.api.standing_time import START

if TYPE_CHECKING:
    from collections.abc import Sequence


async def test_a_snapshot_before_any_data_is_empty_and_says_so(harness: Harness) -> None:
    assert await harness.get("/workspaces/north/snapshots/bus-1") == {
        "workspace_id": "north",
        "device_id": "bus-1",
        "vehicle_id": "vehicle-bus-1",
        "vehicle_name": "Bus bus-1",
        "version": 0,
        "last_update_received_at": None,
        "last_changed_at": None,
        "freshness_age_seconds": None,
        "values": {},
        "served_by": "core",
    }


async def test_snapshots_are_listed_in_pages_with_ages_at_one_instant(harness: Harness) -> None:
    for bus in BUSES:
        await harness.report(bus, soc_percent=50.0)
    harness.let_pass(30)
    first = await harness.get("/workspaces/north/snapshots?limit=2")
    harness.let_pass(30)
    second = await harness.get(f"/workspaces/north/snapshots?limit=2&cursor={first['next_cursor']}")
    items = first["items"] + second["items"]
    assert [item["device_id"] for item in items] == list(BUSES)
    assert {item["freshness_age_seconds"] for item in items} == {30.0}
    assert {item["values"]["soc_percent"]["age_seconds"] for item in items} == {30.0}


async def test_snapshots_are_shown_with_any_number_of_connections(
    harness: Harness,
) -> None:
    live = await harness.stores.registry.get_provider("north", "live")
    assert live is not None
    for number in range(1001):
        await harness.stores.registry.put_provider(replace(live, provider_id=f"a-{number:04}"))
    assert len((await harness.get("/workspaces/north/snapshots"))["items"]) == len(BUSES)
    assert (await harness.get("/workspaces/north/snapshots/bus-1"))["device_id"] == "bus-1"


async def test_last_changed_moves_only_with_a_value(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    harness.let_pass(30)
    await harness.report("bus-1", soc_percent=50.0)
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert instant(snapshot["last_changed_at"]) == START
    assert instant(snapshot["last_update_received_at"]) == START + timedelta(seconds=30)
    assert snapshot["version"] == 2


async def test_events_are_read_newest_first_in_pages(harness: Harness) -> None:
    for soc in (50.0, 51.0, 52.0):
        await harness.report("bus-1", soc_percent=soc, speed_kmh=0.0)
        harness.let_pass(10)
    pages = await harness.walk("/workspaces/north/devices/bus-1/events?limit=2")
    events = [event for page in pages for event in page["items"]]
    assert [event["sequence"] for event in events] == [3, 2, 1]
    assert [event["readings"]["soc_percent"]["value"] for event in events] == [52.0, 51.0, 50.0]
    assert events[2] == {
        "sequence": 1,
        "recorded_at": "2026-05-01T12:00:00Z",
        "received_at": "2026-05-01T12:00:00Z",
        "readings": {
            "soc_percent": {"value": 50.0, "observed_at": "2026-05-01T12:00:00Z"},
            "speed_kmh": {"value": 0.0, "observed_at": "2026-05-01T12:00:00Z"},
        },
        "provider_id": "live",
        "trace_id": events[2]["trace_id"],
        "collected_by": {"shard_id": "shard-1", "epoch": 1, "resource": None, "token": None},
        "assignment": 1,
        "vehicle_id": "vehicle-bus-1",
        "external_id": "x-bus-1",
        "outside_assignment": False,
    }


async def test_pages_of_events_survive_a_clock_that_is_set_back(
    harness: Harness,
) -> None:
    start = harness.clock.now()
    for soc in (50.0, 51.0):
        await harness.report(
            "bus-1", soc_percent=soc, observed_at=start - timedelta(seconds=100 - soc)
        )
        harness.let_pass(10)
    harness.let_pass(-30)
    for soc in (52.0, 53.0):
        await harness.report(
            "bus-1", soc_percent=soc, observed_at=start - timedelta(seconds=100 - soc)
        )
        harness.let_pass(1)
    pages = await harness.walk("/workspaces/north/devices/bus-1/events?limit=1")
    assert [page["items"][0]["sequence"] for page in pages] == [2, 1, 4, 3]


async def test_run_now_is_202_and_asking_again_gives_the_same_cycle(
    harness: Harness,
) -> None:
    now = {"when": "now"}
    traced = {"X-Request-Id": "trace-7"}
    asked = await harness.ask("POST", "/workspaces/north/cycles", json=now, headers=traced)
    again = await harness.ask("POST", "/workspaces/north/cycles", json=now)
    assert (asked.status, asked.json) == (202, again.json)
    cycle = await harness.get(asked.headers["location"])
    assert asked.json["start_at"] == cycle["requested_at"]
    assert (cycle["outcome"], cycle["trigger"], cycle["trace_id"]) == (
        "requested",
        "manual",
        "trace-7",
    )
    assert harness.nudged.times == 2
    assert (await harness.ask("GET", "/workspaces/north/cycles/none-such")).status == 404


async def test_cycles_are_read_newest_first_in_pages(harness: Harness) -> None:
    ids = []
    for _ in range(3):
        ids.append(await harness.run_cycle())
        harness.let_pass(300)
    pages = await harness.walk("/workspaces/north/cycles?limit=2")
    cycles = [cycle for page in pages for cycle in page["items"]]
    assert [cycle["cycle_id"] for cycle in cycles] == ids[::-1]
    assert cycles[0]["outcome"] == "completed"
    assert cycles[0]["shard_id"] == "shard-1"


async def test_acceptance_4_an_unresolved_identity_is_refused_visibly(
    harness: Harness,
) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    answer = await harness.report("bus-9", soc_percent=1.0)
    assert answer.json["results"][0]["reason"] == "unknown_device"
    await _conflict(harness)
    items = (await harness.get("/workspaces/north/rejections"))["items"]
    assert [(item["device_id"], item["reason"], item["origin"]) for item in items] == [
        ("bus-1", "identity_conflict", "http"),
        ("bus-9", "unknown_device", "http"),
    ]
    assert "bus-9" in items[1]["sample"]["text"]
    assert base64.b64decode(items[1]["sample"]["base64"]).decode() == items[1]["sample"]["text"]
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert snapshot["values"]["soc_percent"]["value"] == 50.0


async def test_rejections_are_filtered_by_reason_and_paged(harness: Harness) -> None:
    for bus in ("bus-7", "bus-8", "bus-9"):
        await harness.report(bus, soc_percent=1.0)
    await _conflict(harness)
    pages = await harness.walk("/workspaces/north/rejections?reason=unknown_device&limit=2")
    assert [item["device_id"] for page in pages for item in page["items"]] == [
        "bus-9",
        "bus-8",
        "bus-7",
    ]
    refused = await harness.ask("GET", "/workspaces/north/rejections?reason=bad_mood")
    assert (refused.status, refused.pointers) == (400, ["reason"])


@pytest.mark.parametrize(("sample", "text"), [(b"\xff\x00raw", None), ("bus é".encode(), "bus é")])
async def test_a_sample_is_text_only_when_it_is_utf8(
    harness: Harness, sample: bytes, text: str | None
) -> None:
    await _refuse(
        harness, [InvalidItem("north", "live", None, Reason.INVALID, "not a frame", sample, 3)]
    )
    (item,) = (await harness.get("/workspaces/north/rejections"))["items"]
    assert (item["occurrences"], item["sample"]["text"]) == (3, text)
    assert base64.b64decode(item["sample"]["base64"]) == sample


async def _refuse(harness: Harness, items: Sequence[InvalidItem]) -> None:
    await harness.commit(Submission("stream", "trace-bad", invalid=tuple(items)))
    await trio.testing.wait_all_tasks_blocked()


async def _conflict(harness: Harness) -> None:
    update: dict[str, Any] = {
        "workspace_id": "north",
        "provider_id": "live",
        "device_id": "bus-1",
        "vehicle_id": "another",
        "readings": [
            {"signal": "soc_percent", "value": 1, "observed_at": harness.clock.now().isoformat()}
        ],
    }
    answer = await harness.ask("POST", "/ingest", json={"updates": [update]})
    assert answer.json["results"][0]["reason"] == "identity_conflict"
