"""Merge patches: the members that are named change, and the result is judged as a PUT would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.patching import merge
from tests.api.test_access import DEVICE

if TYPE_CHECKING:
    from tests.api.harness import Harness

SECOND = "/workspaces/north/providers/second"
BUS = "/workspaces/north/devices/bus-1"
ADMINS = "env:LASTHEARD_SECRET_ADMIN"
STORED: dict[str, Any] = {
    "provider_type": "spoken",
    "transport": "poll",
    "base_url": "https://good.example/api",
    "credential": ADMINS,
    "settings": {"tongue": "formal", "loudness": 3},
    "active": False,
    "expected_update_seconds": 900.0,
    "overrides": {
        "delayed_after_seconds": None,
        "stale_after_seconds": 1800.0,
        "grace_seconds": None,
    },
}


@pytest.mark.parametrize(
    ("present", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7396_hold(present: Any, patch: Any, result: Any) -> None:
    assert merge(present, patch) == result


async def put_second(harness: Harness) -> None:
    assert (await harness.ask("PUT", SECOND, json=STORED)).status == 201


async def shown(harness: Harness) -> dict[str, Any]:
    found = await harness.get(SECOND)
    return {name: found[name] for name in STORED}


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({}, {}),
        ({"active": True}, {"active": True}),
        ({"expected_update_seconds": None}, {"expected_update_seconds": None}),
        ({"settings": {"loudness": 5}}, {"settings": {"tongue": "formal", "loudness": 5}}),
        ({"settings": {"loudness": None}}, {"settings": {"tongue": "formal"}}),
        ({"credential": None}, {"credential": None}),
        (
            {"overrides": {"grace_seconds": 60}},
            {"overrides": {**STORED["overrides"], "grace_seconds": 60.0}},
        ),
        ({"overrides": None}, {"overrides": dict.fromkeys(STORED["overrides"])}),
        (
            {"base_url": "https://new.example", "credential": ADMINS},
            {"base_url": "https://new.example"},
        ),
    ],
)
async def test_a_patch_of_a_connection_changes_what_it_names(
    harness: Harness, patch: Any, changed: dict[str, Any]
) -> None:
    await put_second(harness)
    answer = await harness.ask("PATCH", SECOND, json=patch)
    assert answer.status == 200, answer.body
    assert await shown(harness) == STORED | changed


@pytest.mark.parametrize(
    ("key", "patch", "status", "pointer"),
    [
        ("all", {"base_url": "https://evil.example"}, 422, "/credential"),
        ("all", {"settings": {"tongue": "plain"}}, 422, "/credential"),
        ("all", {"transport": "stream"}, 422, "/credential"),
        ("north", {"base_url": "https://evil.example"}, 422, "/credential"),
        ("north", {"base_url": "https://evil.example", "credential": ADMINS}, 403, "/credential"),
        ("north", {"credential": "env:LASTHEARD_SECRET_SOUTH"}, 403, "/credential"),
        ("all", {"credential": "sk_live_swordfish"}, 422, "/credential"),
        ("all", {"settings": {"apiKey": "swordfish"}}, 422, "/settings/apiKey"),
        ("all", {"settings": {"tongue": "rude"}}, 422, "/settings/tongue"),
        ("all", {"overrides": {"delayed_after_seconds": 1800}}, 422, "/overrides"),
        ("all", {"provider_type": "carrier-pigeon"}, 422, "/provider_type"),
        ("all", {"base_url": None}, 422, "/base_url"),
        ("all", {"active": None}, 422, "/active"),
        ("all", {"colour": "red"}, 422, "/colour"),
        ("all", {"provider_type": None}, 422, "/provider_type"),
        ("all", {"colour": None}, 422, "/colour"),
        ("all", {"overrides": {"stale_seconds": None}}, 422, "/overrides/stale_seconds"),
    ],
)
async def test_a_patch_of_a_connection_is_judged_as_a_put(
    harness: Harness, key: str, patch: Any, status: int, pointer: str
) -> None:
    await put_second(harness)
    answer = await harness.ask("PATCH", SECOND, key=key, json=patch)
    assert (answer.status, answer.pointers[:1]) == (status, [pointer]), answer.body
    assert b"swordfish" not in answer.body
    assert await shown(harness) == STORED


async def test_a_patch_of_a_device_changes_what_it_names(harness: Harness) -> None:
    before = await harness.get(BUS)
    named = await harness.ask("PATCH", BUS, json={"vehicle_name": "Renamed"})
    assert named.json == {**before, "vehicle_name": "Renamed"}
    limits = await harness.ask("PATCH", BUS, json={"overrides": {"grace_seconds": 60}})
    assert limits.json["overrides"] == {**before["overrides"], "grace_seconds": 60.0}
    assert (await harness.ask("PATCH", BUS, json={"overrides": None})).json == named.json


@pytest.mark.parametrize(
    ("patch", "status", "pointer"),
    [
        ({"external_id": "x-other"}, 409, "/external_id"),
        ({"vehicle_id": "other"}, 409, "/vehicle_id"),
        ({"provider_id": "hourly"}, 409, "/provider_id"),
        ({"provider_id": "nowhere"}, 422, "/provider_id"),
        ({"vehicle_name": None}, 422, "/vehicle_name"),
        ({"vehicle_name": ""}, 422, "/vehicle_name"),
        ({"activated_at": "2126-03-01T12:00:00Z"}, 422, "/activated_at"),
        ({"vehicle_nmae": None}, 422, "/vehicle_nmae"),
        ({"overrides": {"stale_after_seconds": "900"}}, 422, "/overrides/stale_after_seconds"),
    ],
)
async def test_a_patch_of_a_device_is_judged_as_a_put(
    harness: Harness, patch: Any, status: int, pointer: str
) -> None:
    before = await harness.get(BUS)
    answer = await harness.ask("PATCH", BUS, json=patch)
    assert (answer.status, answer.pointers) == (status, [pointer])
    assert await harness.get(BUS) == before


async def test_a_retired_device_is_not_activated_by_a_patch(harness: Harness) -> None:
    retired = (await harness.ask("DELETE", BUS)).json
    answer = await harness.ask("PATCH", BUS, json={"vehicle_name": "Renamed"})
    assert (answer.status, answer.problem) == (409, "conflict")
    assert await harness.get(BUS) == retired
    assert (await harness.ask("PUT", BUS, json=DEVICE)).json["active"]
