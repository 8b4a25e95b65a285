"""An id that arrives and is nearly that of a device never heard, in the device's evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.api.harness import later

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def send(harness: Harness, provider_id: str, external_id: str) -> Any:
    reading = {"signal": "soc_percent", "value": 61.5, "observed_at": later(0).isoformat()}
    update = {
        "workspace_id": "north",
        "provider_id": provider_id,
        "external_id": external_id,
        "readings": [reading],
    }
    answer = await harness.ask("POST", "/ingest", json={"updates": [update]})
    return answer.json["results"][0]


async def look_alikes_of(harness: Harness, device_id: str) -> Any:
    report = await harness.get("/workspaces/north/health")
    (item,) = [item for item in report["items"] if item["device_id"] == device_id]
    return item["evidence"]["look_alike_ids"]


async def test_evidence_of_a_device_never_heard_names_look_alikes(harness: Harness) -> None:
    for external_id in ("X-bus-1", "x-bus-11", "truck"):
        assert (await send(harness, "live", external_id))["reason"] == "unknown_device"
    await send(harness, "hourly", "x-bus-12")
    assert await look_alikes_of(harness, "bus-1") == ["X-bus-1", "x-bus-11"]
    await harness.report("bus-1", soc_percent=50.0)
    assert await look_alikes_of(harness, "bus-1") == []


async def test_a_vin_arrives_in_any_case_and_with_spaces(harness: Harness) -> None:
    connection = {"provider_type": "murmured", "transport": "poll", "credential": None}
    made = await harness.ask(
        "PUT",
        "/workspaces/north/providers/maker",
        json={**connection, "base_url": "https://provider.example"},
    )
    assert made.status == 201, made.body
    device = {
        "provider_id": "maker",
        "external_id": "TESTVIN0000000001",
        "vehicle_id": "v",
        "vehicle_name": "Truck",
    }
    path = "/workspaces/north/devices/truck-1"
    assert (await harness.ask("PUT", path, json=device)).status == 201
    result = await send(harness, "maker", " testvin0000000001")
    assert (result["outcome"], result["device_id"]) == ("accepted", "truck-1")
    assert (await harness.get(path))["external_id"] == "TESTVIN0000000001"
    other = await harness.ask(
        "PUT",
        "/workspaces/north/devices/truck-2",
        json={**device, "external_id": "testvin0000000001"},
    )
    assert (other.status, other.pointers) == (409, ["/external_id"])
