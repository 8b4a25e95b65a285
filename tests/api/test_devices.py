"""Devices are configured, changed, retired and activated anew."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.harness import BUSES, Harness, instant, later
from tests.api.standing_time import START

BODY: dict[str, Any] = {
    "provider_id": "live",
    "external_id": "vid 7/é",
    "vehicle_id": "fleet no. 7",
    "vehicle_name": "Bus 7",
    "overrides": {"grace_seconds": 60},
}


async def test_a_device_is_stored_as_given_and_active_from_now(harness: Harness) -> None:
    harness.let_pass(5)
    made = await harness.ask("PUT", "/workspaces/north/devices/bus-7", json=BODY)
    assert (made.status, made.json) == (
        201,
        {
            **BODY,
            "workspace_id": "north",
            "device_id": "bus-7",
            "active": True,
            "activated_at": "2026-05-01T12:00:05Z",
            "retired_at": None,
            "overrides": {
                "delayed_after_seconds": None,
                "stale_after_seconds": None,
                "grace_seconds": 60.0,
            },
            "assignment": 1,
            "tags": [],
        },
    )
    assert await harness.get("/workspaces/north/devices/bus-7") == made.json


async def test_its_grace_may_have_begun_before(harness: Harness) -> None:
    body = {**BODY, "activated_at": "2026-05-01T13:00:00+02:00"}
    made = await harness.ask("PUT", "/workspaces/north/devices/bus-7", json=body)
    assert made.json["activated_at"] == "2026-05-01T11:00:00Z"


async def test_a_device_cannot_begin_further_ahead_than_clocks_differ(harness: Harness) -> None:
    path = "/workspaces/north/devices/bus-7"
    refused = await harness.ask("PUT", path, json={**BODY, "activated_at": later(301).isoformat()})
    assert (refused.status, refused.problem, refused.pointers) == (
        422,
        "invalid-body",
        ["/activated_at"],
    )
    assert (await harness.ask("GET", path)).status == 404
    assert (
        await harness.ask("PUT", path, json={**BODY, "activated_at": later(300).isoformat()})
    ).status == 201


async def test_a_retired_device_is_listed_on_request_with_its_instant(
    harness: Harness,
) -> None:
    first = await harness.ask("DELETE", "/workspaces/north/devices/bus-2")
    harness.let_pass(60)
    again = await harness.ask("DELETE", "/workspaces/north/devices/bus-2")
    assert first.json == again.json
    assert (first.json["active"], instant(first.json["retired_at"])) == (False, START)
    listed = await harness.get("/workspaces/north/devices")
    assert [row["device_id"] for row in listed["items"]] == ["bus-1", "bus-3"]
    everything = await harness.get("/workspaces/north/devices?include_retired=true")
    assert [row["device_id"] for row in everything["items"]] == list(BUSES)


async def test_a_retired_device_is_activated_anew(harness: Harness) -> None:
    await harness.ask("DELETE", "/workspaces/north/devices/bus-2")
    harness.let_pass(60)
    again = await harness.ask(
        "PUT", "/workspaces/north/devices/bus-2", json={**BODY, "external_id": "x-bus-2"}
    )
    assert (again.status, again.json["retired_at"], again.json["assignment"]) == (200, None, 2)
    assert instant(again.json["activated_at"]) == later(60)


async def test_spaces_at_the_ends_of_ids_are_removed(harness: Harness) -> None:
    body = {**BODY, "external_id": " X1 ", "vehicle_id": " fleet no. 7"}
    made = await harness.ask("PUT", "/workspaces/north/devices/bus-7", json=body)
    assert (made.json["external_id"], made.json["vehicle_id"]) == ("X1", "fleet no. 7")
    refused = await harness.ask(
        "PUT", "/workspaces/north/devices/bus-8", json={**BODY, "external_id": "X1"}
    )
    assert (refused.status, refused.pointers) == (409, ["/external_id"])
    blank = await harness.ask(
        "PUT", "/workspaces/north/devices/bus-8", json={**BODY, "external_id": "  "}
    )
    assert (blank.status, blank.pointers) == (422, ["/external_id"])


async def test_an_external_id_belongs_to_one_active_device(harness: Harness) -> None:
    answer = await harness.ask(
        "PUT", "/workspaces/north/devices/bus-7", json={**BODY, "external_id": "x-bus-1"}
    )
    assert (answer.status, answer.problem, answer.pointers) == (409, "conflict", ["/external_id"])
    await harness.ask("DELETE", "/workspaces/north/devices/bus-1")
    swapped = await harness.ask(
        "PUT", "/workspaces/north/devices/bus-7", json={**BODY, "external_id": "x-bus-1"}
    )
    assert swapped.status == 201


async def test_a_device_of_no_connection_is_refused(harness: Harness) -> None:
    answer = await harness.ask(
        "PUT", "/workspaces/north/devices/bus-7", json={**BODY, "provider_id": "nobody"}
    )
    assert (answer.status, answer.problem, answer.pointers) == (
        422,
        "invalid-body",
        ["/provider_id"],
    )


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"external_id": ""}, "/external_id"),
        ({"external_id": "a\nb"}, "/external_id"),
        ({"vehicle_name": "x" * 201}, "/vehicle_name"),
        ({"provider_id": "a b"}, "/provider_id"),
        ({"activated_at": "2026-05-01T12:00:00"}, "/activated_at"),
        ({"activated_at": 1777636800}, "/activated_at"),
        ({"overrides": {"stale_after_seconds": 0}}, "/overrides/stale_after_seconds"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_what_is_wrong_is_refused_at_its_place(
    harness: Harness, change: dict[str, Any], pointer: str
) -> None:
    answer = await harness.ask("PUT", "/workspaces/north/devices/bus-7", json=BODY | change)
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", [pointer])


async def test_an_unknown_device_is_404_everywhere(harness: Harness) -> None:
    for method, path in (
        ("GET", "devices/bus-9"),
        ("DELETE", "devices/bus-9"),
        ("GET", "devices/bus-9/events"),
        ("GET", "snapshots/bus-9"),
    ):
        answer = await harness.ask(method, f"/workspaces/north/{path}")
        assert (answer.status, answer.json["detail"]) == (404, "There is no device bus-9.")


async def test_devices_are_listed_in_pages(harness: Harness) -> None:
    pages = await harness.walk("/workspaces/north/devices?limit=2")
    assert [[row["device_id"] for row in page["items"]] for page in pages] == [
        ["bus-1", "bus-2"],
        ["bus-3"],
    ]
