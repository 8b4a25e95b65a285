"""A device's day, its assignments, and the update behind a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.harness import instant, later

if TYPE_CHECKING:
    from tests.api.harness import Harness

DAY = "/workspaces/north/devices/bus-1/day"


def span(begins: float, ends: float) -> str:
    form = "%Y-%m-%dT%H:%M:%SZ"
    return f"from={later(begins):{form}}&to={later(ends):{form}}"


async def test_a_day_counts_receipts_and_finds_the_gap_between_them(harness: Harness) -> None:
    for seconds in (60, 60, 1800):
        harness.let_pass(seconds)
        await harness.report("bus-1", soc_percent=50)
    harness.let_pass(120)
    day = await harness.get(f"{DAY}?{span(0, 2040)}&buckets=17")
    assert day["bucket_seconds"] == 120
    assert [part["updates"] for part in day["receipts"]] == [1, 1, 1]
    (gap,) = day["gaps"]
    assert gap["seconds"] == pytest.approx(1800)
    assert instant(gap["ends_at"]) == later(1920)


async def test_a_silent_device_has_a_gap_that_goes_on(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(3600)
    (gap,) = (await harness.get(f"{DAY}?{span(600, 3600)}"))["gaps"]
    assert (gap["ends_at"], gap["seconds"]) == (None, 3600)


async def test_signals_have_their_newest_value_of_each_bucket(harness: Harness) -> None:
    for soc in range(40, 52):  # more than are read of one bucket
        await harness.report("bus-1", soc_percent=soc, latitude_deg=53.1, longitude_deg=8.8)
        harness.let_pass(10)
    day = await harness.get(f"{DAY}?{span(0, 120)}&buckets=1")
    assert [point["value"] for point in day["signals"]["soc_percent"]] == [51]
    assert [point["value"] for point in day["signals"]["longitude_deg"]] == [8.8]


async def test_a_day_has_the_cycles_with_the_answer_of_the_connection(harness: Harness) -> None:
    await harness.run_cycle()
    harness.let_pass(60)
    (cycles,) = (await harness.get(DAY))["cycles"]
    assert (cycles["outcome"], cycles["answer"], cycles["cycles"]) == ("completed", None, 1)


async def test_a_day_has_refusals_and_edges(harness: Harness) -> None:
    await harness.run_cycle()
    await harness.report("bus-1", soc_percent=150)
    harness.let_pass(60)
    day = await harness.get(DAY)
    assert [(one["reason"], one["signal"]) for one in day["refusals"]] == [
        ("invalid", "soc_percent")
    ]
    assert "named" in [edge["kind"] for edge in day["device_edges"]]
    assert "call_succeeded" in [edge["kind"] for edge in day["connection_edges"]]


async def test_what_held_at_the_beginning_stands_first(harness: Harness) -> None:
    await harness.run_cycle()
    harness.let_pass(3600)
    edges = (await harness.get(f"{DAY}?{span(1800, 3600)}"))["connection_edges"]
    assert [edge["kind"] for edge in edges] == ["call_succeeded"]
    assert instant(edges[0]["at"]) < later(1800)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        (span(0, 90_000), "from"),
        (span(100, 100), "from"),
        ("from=2099-01-01T00:00:00Z", "from"),
        ("buckets=0", "buckets"),
        ("buckets=301", "buckets"),
    ],
)
async def test_a_span_that_cannot_be_is_refused(
    harness: Harness, query: str, parameter: str
) -> None:
    harness.let_pass(100_000)
    answer = await harness.ask("GET", f"{DAY}?{query}")
    assert (answer.status, answer.pointers) == (400, [parameter])


async def test_a_span_of_seconds_has_buckets_of_a_second(harness: Harness) -> None:
    harness.let_pass(60)
    assert (await harness.get(f"{DAY}?{span(0, 10)}"))["bucket_seconds"] == 1


async def test_assignments_are_newest_first(harness: Harness) -> None:
    headers = {"If-Match": "*"}
    path = "/workspaces/north/devices/bus-1"
    swap = {"vehicle_id": "other", "vehicle_name": "Other"}
    harness.let_pass(60)
    assert (await harness.ask("POST", f"{path}/swap", json=swap, headers=headers)).status == 200
    items = (await harness.get(f"{path}/assignments"))["items"]
    assert [(one["assignment"], one["vehicle_id"]) for one in items] == [
        (2, "other"),
        (1, "vehicle-bus-1"),
    ]
    assert items[0]["ended_at"] is None


@pytest.mark.parametrize("path", ["day", "assignments"])
async def test_an_unknown_device_is_404(harness: Harness, path: str) -> None:
    assert (await harness.ask("GET", f"/workspaces/north/devices/bus-9/{path}")).status == 404


@pytest.mark.parametrize("signal", ["soc_percent", "latitude_deg"])
async def test_the_event_behind_a_value_is_the_one_that_brought_it(
    harness: Harness, signal: str
) -> None:
    await harness.report("bus-1", soc_percent=50, latitude_deg=53.1, longitude_deg=8.8)
    harness.let_pass(60)
    await harness.report("bus-1", speed_kmh=30)
    event = await harness.get(f"/workspaces/north/snapshots/bus-1/{signal}/event")
    assert event["sequence"] == 1
    assert signal in event["readings"]


async def test_a_value_that_never_came_has_no_event(harness: Harness) -> None:
    answer = await harness.ask("GET", "/workspaces/north/snapshots/bus-1/speed_kmh/event")
    assert (answer.status, answer.problem) == (404, "not-found")


async def test_health_can_be_asked_of_one_device(harness: Harness) -> None:
    report = await harness.get("/workspaces/north/health?device_id=bus-2")
    assert [item["device_id"] for item in report["items"]] == ["bus-2"]
    assert sum(report["counts"].values()) == 3
