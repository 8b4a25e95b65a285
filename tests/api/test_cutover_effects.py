"""What the flags of a cutover change at other doors of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from domain.changes import LEGACY_SYNC
from domain.registry import RegistryIsLegacy, Stored
from tests.api.harness import draft
from tests.legacy.scripted import SHAPE

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

NORTH = "/workspaces/north"
LEGACY = {"base_url": "https://legacy.example/api", "credential": None, "shape": SHAPE}
DEVICE = {
    "provider_id": "live",
    "external_id": "x-new",
    "vehicle_id": "vehicle-new",
    "vehicle_name": "New",
}
COLLECTS = "the legacy system collects (poll_owner is legacy)"


async def set_flags(harness: Harness, **flags: Any) -> None:
    body = {"legacy": LEGACY, **flags}
    answer = await harness.ask("PUT", f"{NORTH}/cutover", json=body, headers={"If-Match": "*"})
    assert answer.status == 200, answer.body


async def give_back(harness: Harness) -> None:
    await set_flags(harness, poll_owner="legacy", read_owner="legacy")


async def ask(harness: Harness, method: str, path: str, body: Any) -> Answer:
    rest = {} if body is None else {"json": body}
    return await harness.ask(method, f"{NORTH}{path}", **rest)


# --- Devices of a legacy registry

WRITES = [
    ("PUT", "/devices/new", DEVICE),
    ("PUT", "/devices/bus-1", {**DEVICE, "external_id": "x-bus-1", "vehicle_id": "vehicle-bus-1"}),
    ("PATCH", "/devices/bus-1", {"vehicle_name": "Renamed"}),
    ("DELETE", "/devices/bus-1", None),
    ("POST", "/devices/bus-1/swap", {"external_id": "x-swapped"}),
    ("POST", "/devices/import", {"devices": [{**DEVICE, "device_id": "new"}]}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_changing_synchronised_devices_is_409_with_the_way_out(
    harness: Harness, method: str, path: str, body: Any
) -> None:
    before = await harness.walk(f"{NORTH}/devices?include_retired=true")
    await set_flags(harness, device_registry_source="legacy_sync")
    refused = await ask(harness, method, path, body)
    assert (refused.status, refused.problem) == (409, "registry-is-legacy")
    assert "device_registry_source" in refused.json["detail"]
    assert await harness.walk(f"{NORTH}/devices?include_retired=true") == before
    await set_flags(harness)
    assert (await ask(harness, method, path, body)).status in {200, 201}


async def test_a_retired_device_is_not_restored_by_hand_either(harness: Harness) -> None:
    await harness.ask("DELETE", f"{NORTH}/devices/bus-1")
    await set_flags(harness, device_registry_source="legacy_sync")
    body = {**DEVICE, "external_id": "x-bus-1", "vehicle_id": "vehicle-bus-1"}
    refused = await ask(harness, "PUT", "/devices/bus-1", body)
    assert (refused.status, refused.problem) == (409, "registry-is-legacy")


async def test_an_import_in_csv_is_refused_as_a_whole(harness: Harness) -> None:
    await set_flags(harness, device_registry_source="legacy_sync")
    data = b"device_id,provider_id,external_id,vehicle_id,vehicle_name\nnew,live,x-new,v,New\n"
    refused = await harness.ask(
        "POST", f"{NORTH}/devices/import", data=data, headers={"Content-Type": "text/csv"}
    )
    assert (refused.status, refused.problem) == (409, "registry-is-legacy")


async def test_the_synchronisation_itself_may_change_devices(harness: Harness) -> None:
    await set_flags(harness, device_registry_source="legacy_sync")
    put = harness.stores.registry.put_devices
    assert isinstance(await put("north", [draft("bus-4")]), RegistryIsLegacy)
    assert await put("north", [draft("bus-4")], by=LEGACY_SYNC) == [Stored(created=True)]
    retired = await harness.stores.registry.retire_device("north", "bus-4", by=LEGACY_SYNC)
    assert not isinstance(retired, RegistryIsLegacy)


async def test_connections_of_a_legacy_registry_may_change(harness: Harness) -> None:
    await set_flags(harness, device_registry_source="legacy_sync")
    answer = await ask(harness, "PATCH", "/providers/hourly", {"active": False})
    assert answer.status == 200


# --- Runs


async def test_a_run_at_once_is_refused_while_legacy_collects(
    harness: Harness,
) -> None:
    await give_back(harness)
    now = await ask(harness, "POST", "/cycles", {"when": "now"})
    assert (now.status, now.problem) == (409, "conflict")
    assert COLLECTS in now.json["detail"]
    # The regular cycle is recorded as skipped.
    assert (await ask(harness, "POST", "/cycles", {})).status == 202


async def test_a_run_at_once_is_refused_if_the_mode_leaves_all_out(
    harness: Harness,
) -> None:
    await set_flags(harness, provider_mode="depot_sim")
    refused = await ask(harness, "POST", "/cycles", {"when": "now"})
    assert (refused.status, "depot_sim" in refused.json["detail"]) == (409, True)
    await ask(harness, "PATCH", "/providers/hourly", {"simulated": True})
    assert (await ask(harness, "POST", "/cycles", {"when": "now"})).status == 202


async def test_a_simulated_connection_that_is_left_out_is_a_warning(harness: Harness) -> None:
    answer = await ask(harness, "PATCH", "/providers/hourly", {"simulated": True})
    (warning,) = answer.json["warnings"]
    assert warning["pointer"] == "/simulated"
    assert "provider_mode is legacy_provider" in warning["detail"]
    await set_flags(harness, provider_mode="mixed")
    answer = await ask(harness, "PATCH", "/providers/hourly", {"simulated": True})
    assert answer.json["warnings"] == []


async def test_the_check_of_a_fleet_warns_of_it_too(harness: Harness) -> None:
    connection = {
        "provider_id": "simulator",
        "provider_type": "spoken",
        "transport": "poll",
        "base_url": "https://provider.example",
        "simulated": True,
    }
    body = {"workspaces": [{"workspace_id": "new", "connections": [connection]}]}
    answer = await harness.ask("POST", "/fleet/check", json=body)
    assert [one["pointer"] for one in answer.json["warnings"]] == [
        "/workspaces/0/connections/0/simulated"
    ]


# --- Data that clients send, and health


async def test_what_clients_send_is_accepted_while_legacy_collects(
    harness: Harness,
) -> None:
    await give_back(harness)
    answer = await harness.report("bus-1", soc_percent=50.0)
    assert answer.json["results"][0]["outcome"] == "accepted"
    envelope = {
        "workspaceId": "north",
        "providerType": "spoken",
        "providerId": "live",
        "receivedAt": harness.clock.now().isoformat(),
        "rawMessage": f"say x-bus-2 soc_percent 50 {harness.clock.now().isoformat()}",
    }
    answer = await harness.ask("POST", "/provider-ingest", json=envelope)
    assert answer.json["results"][0]["outcome"] == "accepted"


async def test_late_devices_are_switched_off_while_legacy_collects(
    harness: Harness,
) -> None:
    harness.let_pass(3601)
    await set_flags(harness, poll_owner="both_shadow")
    assert await reasons(harness) != {"switched_off"}
    await set_flags(harness, provider_mode="depot_sim")
    assert await reasons(harness) == {"switched_off"}
    items = (await harness.get(f"{NORTH}/health"))["items"]
    assert {item["evidence"]["next_poll_at"] for item in items} == {None}


async def reasons(harness: Harness) -> set[str]:
    items = (await harness.get(f"{NORTH}/health"))["items"]
    return {item["reason"] for item in items}
