"""What is archived leaves the lists and everything that runs, stays readable, and never returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ports.sessions import VitalSigns
from tests.api.test_access import DEVICE, PROVIDER, SWAP

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

NORTH, LIVE, HOURLY = "/workspaces/north", "/workspaces/north/providers/live", "hourly"
BUSES = ("bus-1", "bus-2", "bus-3")


async def archive(harness: Harness) -> Answer:
    """Switch the workspace north off, and archive it."""
    assert (await harness.ask("PATCH", NORTH, json={"active": False})).status == 200
    answer = await harness.ask("DELETE", NORTH)
    assert answer.status == 200, answer.body
    return answer


async def ids(harness: Harness, path: str, name: str) -> list[Any]:
    return [row[name] for row in (await harness.get(path))["items"]]


async def test_an_active_workspace_is_not_archived(harness: Harness) -> None:
    before = await harness.get(NORTH)
    answer = await harness.ask("DELETE", NORTH)
    assert (answer.status, answer.problem) == (409, "conflict")
    assert 'PATCH it with {"active": false}' in answer.json["detail"]
    assert await harness.get(NORTH) == before


async def test_an_archived_workspace_is_not_listed_and_stays_readable(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    archived = await archive(harness)
    assert archived.json["archived_at"] is not None
    assert await ids(harness, "/workspaces", "workspace_id") == ["south"]
    assert await ids(harness, "/workspaces?archived=true", "workspace_id") == ["north"]
    shown = await harness.ask("GET", NORTH)
    assert (shown.json, shown.headers["etag"]) == (archived.json, archived.headers["etag"])
    assert len((await harness.get(f"{NORTH}/devices/bus-1/events"))["items"]) == 1
    again = await harness.ask("DELETE", NORTH)
    assert (again.status, again.json) == (200, archived.json)


async def test_the_devices_of_an_archived_workspace_are_retired(harness: Harness) -> None:
    await archive(harness)
    assert await ids(harness, f"{NORTH}/devices", "device_id") == []
    listed = (await harness.get(f"{NORTH}/devices?include_retired=true"))["items"]
    assert [(row["device_id"], row["active"]) for row in listed] == [(bus, False) for bus in BUSES]
    assert sum((await harness.get(f"{NORTH}/health"))["counts"].values()) == 0
    sent = await harness.report("bus-1", soc_percent=50.0)
    assert sent.json["results"][0]["reason"] == "unknown_device"


async def test_the_values_of_a_device_outlive_its_connection(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    for bus in BUSES:
        await harness.ask("DELETE", f"{NORTH}/devices/{bus}")
    await harness.ask("PATCH", f"{NORTH}/providers/live", json={"active": False})
    assert (await harness.ask("DELETE", f"{NORTH}/providers/live")).status == 200
    shown = await harness.ask("GET", f"{NORTH}/snapshots/bus-1")
    assert (shown.status, shown.json["values"]["soc_percent"]["value"]) == (200, 50.0)
    assert (await harness.get(f"{NORTH}/snapshots"))["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", {"name": "North"}),
        ("PATCH", "", {"active": True}),
        ("PUT", "/policy", {}),
        ("PATCH", "/policy", {"grace_seconds": 60}),
        ("POST", "/policy/preview", {"grace_seconds": 60}),
        ("PUT", "/providers/live", PROVIDER),
        ("PUT", "/providers/new", PROVIDER),
        ("PATCH", "/providers/live", {"active": False}),
        ("DELETE", "/providers/hourly", None),
        ("PUT", "/devices/bus-1", DEVICE),
        ("PUT", "/devices/bus-7", {**DEVICE, "external_id": "x-7"}),
        ("PATCH", "/devices/bus-1", {"vehicle_name": "Renamed"}),
        ("POST", "/devices/bus-1/swap", SWAP),
        ("POST", "/devices/import", {"devices": [{**DEVICE, "device_id": "bus-7"}]}),
        ("POST", "/cycles", {"when": "now"}),
        ("POST", "/cycles", {}),
    ],
)
async def test_nothing_in_an_archived_workspace_is_changed(
    harness: Harness, method: str, path: str, body: Any
) -> None:
    await archive(harness)
    rest = {} if body is None else {"json": body}
    headers = {"If-Match": "*"} if path == "/policy" else {}
    answer = await harness.ask(method, NORTH + path, headers=headers, **rest)
    assert (answer.status, answer.problem) == (409, "conflict"), answer.body


async def test_the_id_of_an_archived_workspace_is_not_used_again(harness: Harness) -> None:
    await archive(harness)
    answer = await harness.ask("PUT", NORTH, json={"name": "Another customer"})
    assert (answer.status, "its id is not used again" in answer.json["detail"]) == (409, True)
    assert (await harness.get(NORTH))["name"] == "North"


async def test_an_archived_workspace_frees_its_place_and_its_lease(harness: Harness) -> None:
    stores = harness.stores
    await stores.sessions.beat(harness.session, ttl_seconds=86_400, statistics=VitalSigns())
    await archive(harness)
    stored = await stores.registry.get_workspace("north")
    assert stored is not None
    assert (stored.ordinal, stored.scheduled_since) == (None, None)
    looked = await stores.leases.look(harness.session)
    assert "workspace:north" not in {*looked.mine, *looked.free}


async def test_a_connection_with_active_devices_is_not_archived(harness: Harness) -> None:
    answer = await harness.ask("DELETE", LIVE)
    assert (answer.status, answer.problem) == (409, "conflict")
    assert "Active devices use the connection: 3. Retire them first" in answer.json["detail"]
    assert (await harness.get(LIVE))["archived_at"] is None


async def test_an_archived_connection_is_off_and_leaves_the_list(harness: Harness) -> None:
    for bus in BUSES:
        await harness.ask("DELETE", f"{NORTH}/devices/{bus}")
    archived = await harness.ask("DELETE", LIVE)
    assert (archived.status, archived.json["active"]) == (200, False)
    assert await ids(harness, f"{NORTH}/providers", "provider_id") == ["hourly"]
    assert await ids(harness, f"{NORTH}/providers?archived=true", "provider_id") == ["live"]
    assert await harness.get(LIVE) == archived.json
    assert (await harness.ask("DELETE", LIVE)).json == archived.json
    fleet = await harness.stores.sessions.load_fleet("north")
    assert fleet is not None
    assert [one.provider_id for one in fleet.connections] == ["hourly"]


async def test_the_id_of_an_archived_connection_is_not_used_again(harness: Harness) -> None:
    assert (await harness.ask("DELETE", f"{NORTH}/providers/{HOURLY}")).status == 200
    for method, body in (("PUT", PROVIDER), ("PATCH", {"active": True})):
        answer = await harness.ask(method, f"{NORTH}/providers/{HOURLY}", json=body)
        assert (answer.status, "its id is not used again" in answer.json["detail"]) == (409, True)
    device = {**DEVICE, "provider_id": HOURLY, "external_id": "x-7"}
    refused = await harness.ask("PUT", f"{NORTH}/devices/bus-7", json=device)
    assert (refused.status, refused.pointers) == (422, ["/provider_id"])


@pytest.mark.parametrize("archived", ["workspace", "connection"])
async def test_an_envelope_for_what_is_archived_is_404(harness: Harness, archived: str) -> None:
    envelope = {
        "workspaceId": "north",
        "providerType": "spoken",
        "providerId": HOURLY,
        "receivedAt": "2026-03-01T12:00:00Z",
        "rawMessage": "say x-bus-1 soc_percent 50 2026-03-01T12:00:00Z",
    }
    assert (await harness.ask("POST", "/provider-ingest", json=envelope)).status == 200
    if archived == "workspace":
        await archive(harness)
    else:
        await harness.ask("DELETE", f"{NORTH}/providers/{HOURLY}")
    assert (await harness.ask("POST", "/provider-ingest", json=envelope)).status == 404


@pytest.mark.parametrize("path", [NORTH, f"{NORTH}/providers/{HOURLY}"])
async def test_a_thing_is_archived_only_as_it_was_seen(harness: Harness, path: str) -> None:
    seen = (await harness.ask("GET", path)).headers["etag"]
    await harness.ask("PATCH", path, json={"active": False})
    stale = await harness.ask("DELETE", path, headers={"If-Match": seen})
    assert (stale.status, (await harness.get(path))["archived_at"]) == (412, None)
