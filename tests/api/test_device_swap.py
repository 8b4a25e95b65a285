"""A swap: another unit or vehicle under the same device_id, from its moment on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.harness import instant, later

if TYPE_CHECKING:
    from datetime import datetime

    from tests.api.harness import Answer, Harness

DEVICE = "/workspaces/north/devices/bus-1"
OTHER_VEHICLE = {"vehicle_id": "vehicle-9", "vehicle_name": "Bus 9"}


async def swap(harness: Harness, **body: Any) -> Answer:
    return await harness.ask("POST", f"{DEVICE}/swap", json=body)


async def send(harness: Harness, external_id: str, soc: float, observed_at: datetime) -> Any:
    """Send one reading over /ingest by the unit's own id; return its result."""
    reading = {"signal": "soc_percent", "value": soc, "observed_at": observed_at.isoformat()}
    update = {
        "workspace_id": "north",
        "provider_id": "live",
        "external_id": external_id,
        "readings": [reading],
    }
    answer = await harness.ask("POST", "/ingest", json={"updates": [update]})
    return answer.json["results"][0]


async def health_of(harness: Harness, device_id: str) -> Any:
    report = await harness.get("/workspaces/north/health")
    return next(item for item in report["items"] if item["device_id"] == device_id)


async def test_a_swap_is_one_step_under_the_same_device_id(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=60.0)
    harness.let_pass(3600)
    await harness.report("bus-1", soc_percent=11.0)  # the wrong vehicle's, by now
    harness.let_pass(600)
    answer = await swap(harness, **OTHER_VEHICLE, effective_at=later(1800).isoformat())
    assert answer.status == 200
    told = answer.json
    assert (told["device"]["vehicle_id"], told["device"]["assignment"]) == ("vehicle-9", 2)
    assert told["former"]["ended_at"] == told["assignment"]["effective_at"]
    assert instant(told["assignment"]["effective_at"]) == later(1800)
    assert instant(told["assignment"]["entered_at"]) == later(4200)
    assert told["assignment"]["ended_at"] is None
    wrong = told["events_outside"]
    assert (wrong["count"], [event["sequence"] for event in wrong["items"]]) == (1, [2])
    assert wrong["items"][0]["outside_assignment"] is True
    assert harness.nudged.times == 1


async def test_values_and_times_of_before_are_not_the_new_ones(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=60.0)
    harness.let_pass(10)
    await swap(harness, **OTHER_VEHICLE)
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert (snapshot["values"], snapshot["last_update_received_at"]) == ({}, None)
    found = await health_of(harness, "bus-1")
    assert (found["state"], found["vehicle_id"]) == ("awaiting-first-data", "vehicle-9")
    assert found["freshness_age_seconds"] is None
    harness.let_pass(10)
    await harness.report("bus-1", soc_percent=61.0)
    events = (await harness.get(f"{DEVICE}/events"))["items"]
    assert [(row["sequence"], row["assignment"], row["vehicle_id"]) for row in events] == [
        (2, 2, "vehicle-9"),
        (1, 1, "vehicle-bus-1"),
    ]


async def test_grace_counts_from_the_entry_of_a_swap(harness: Harness) -> None:
    harness.let_pass(7200)
    await swap(harness, external_id="x-new", effective_at=later(60).isoformat())
    assert (await health_of(harness, "bus-1"))["state"] == "awaiting-first-data"
    harness.let_pass(3601)
    assert (await health_of(harness, "bus-1"))["state"] == "configured-no-data"


async def test_a_swap_sent_again_is_answered_like_the_first(harness: Harness) -> None:
    first = await swap(harness, external_id="x-new")
    harness.let_pass(60)
    again = await swap(harness, external_id="x-new")
    assert (again.status, again.json) == (200, first.json)


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, ""),
        ({"vehicle_id": "v"}, 422, ""),
        ({"effective_at": "2026-05-01T12:00:00Z"}, 422, ""),
        ({"external_id": "x", "colour": "red"}, 422, "/colour"),
        ({"external_id": "x", "provider_id": "nobody"}, 422, "/provider_id"),
        ({"external_id": "x-bus-2"}, 409, "/external_id"),
        ({"external_id": "x", "effective_at": "2026-05-01T11:59:59Z"}, 409, "/effective_at"),
        ({"external_id": "x", "effective_at": "2026-05-01T12:01:01Z"}, 409, "/effective_at"),
    ],
)
async def test_a_wrong_swap_is_refused_at_its_place(
    harness: Harness, body: dict[str, Any], status: int, pointer: str
) -> None:
    harness.let_pass(60)
    answer = await swap(harness, **body)
    (error,) = answer.json["errors"]
    assert (answer.status, error["pointer"]) == (status, pointer)
    assert (await harness.get(DEVICE))["assignment"] == 1


async def test_only_an_active_device_is_swapped(harness: Harness) -> None:
    await harness.ask("DELETE", DEVICE)
    retired = await swap(harness, external_id="x-new")
    assert (retired.status, retired.pointers) == (409, ["/device_id"])
    unknown = await harness.ask(
        "POST", "/workspaces/north/devices/bus-77/swap", json={"external_id": "x-new"}
    )
    assert unknown.status == 404


async def test_a_put_of_another_unit_says_what_to_do(harness: Harness) -> None:
    device = await harness.get(DEVICE)
    named = ("provider_id", "external_id", "vehicle_id", "vehicle_name")
    body = {name: device[name] for name in named}
    same = await harness.ask("PUT", DEVICE, json={**body, "vehicle_name": "Renamed"})
    assert (same.status, same.json["assignment"]) == (200, 1)
    for change in (
        {"external_id": "x-new"},
        {"vehicle_id": "vehicle-9"},
        {"provider_id": "hourly"},
    ):
        refused = await harness.ask("PUT", DEVICE, json=body | change)
        assert (refused.status, refused.pointers) == (409, [f"/{next(iter(change))}"])
        assert "POST …/devices/bus-1/swap" in refused.json["errors"][0]["detail"]


async def test_acceptance_4_a_buffer_emptied_in_another_vehicle_is_refused(
    harness: Harness,
) -> None:
    """Acceptance 4: a moved unit sends what it saw in its former vehicle."""
    assert (await send(harness, "x-bus-1", 60.0, later(0)))["outcome"] == "accepted"
    await harness.ask("DELETE", DEVICE)
    harness.let_pass(60)
    moved = {"provider_id": "live", "external_id": "x-bus-1", **OTHER_VEHICLE}
    made = await harness.ask("PUT", "/workspaces/north/devices/unit-b", json=moved)
    assert made.status == 201
    result = await send(harness, "x-bus-1", 11.0, later(-7200))
    assert (result["outcome"], result["reason"]) == ("rejected", "outside_assignment")
    assert (await harness.get("/workspaces/north/snapshots/unit-b"))["values"] == {}
    found = await health_of(harness, "unit-b")
    assert (found["state"], found["reason"]) == ("awaiting-first-data", "awaiting_first_data")
    assert (await send(harness, "x-bus-1", 62.0, later(60)))["outcome"] == "accepted"


async def test_a_vin_that_had_no_other_vehicle_may_send_old_data(harness: Harness) -> None:
    made = await harness.ask(
        "PUT",
        "/workspaces/north/devices/unit-b",
        json={"provider_id": "live", "external_id": "fresh", **OTHER_VEHICLE},
    )
    assert made.status == 201
    assert (await send(harness, "fresh", 77.0, later(-90 * 86400)))["outcome"] == "accepted"
