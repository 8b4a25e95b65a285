"""Explicit start offsets over HTTP: stored, shown, and refused before they synchronise starts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import trio

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

ANY = {"If-Match": "*"}


async def set_policy(harness: Harness, name: str, method: str = "PATCH", **policy: Any) -> Answer:
    return await harness.ask(method, f"/workspaces/{name}/policy", json=policy, headers=ANY)


async def put(harness: Harness, name: str, **members: Any) -> Answer:
    return await harness.ask("PUT", f"/workspaces/{name}", json={"name": name.title(), **members})


async def fill(harness: Harness, offset: int) -> None:
    """North and south take both places of the second."""
    for name in ("north", "south"):
        answer = await set_policy(harness, name, start_offset_seconds=offset)
        assert answer.status == 200, answer.body


def told(answer: Answer) -> tuple[int, str, Any]:
    names = (
        "start_offset_seconds",
        "starts_in_second",
        "most_in_second",
        "nearest_free_offset_seconds",
    )
    return answer.status, answer.problem, tuple(answer.json[name] for name in names)


FULL = (422, "synchronized-schedule", (30, 2, 2, 31))


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_acceptance_9_a_synchronised_schedule_is_refused(
    harness: Harness, method: str
) -> None:
    await fill(harness, 30)
    await put(harness, "depot")
    before = await harness.ask("GET", "/workspaces/depot/policy")
    refused = await set_policy(harness, "depot", method, start_offset_seconds=30)
    assert told(refused) == FULL
    assert refused.pointers == ["/start_offset_seconds"]
    assert "The nearest free offset is 31." in refused.json["detail"]
    assert "north" not in refused.body.decode()
    after = await harness.ask("GET", "/workspaces/depot/policy")
    assert (after.json, after.headers["etag"]) == (before.json, before.headers["etag"])
    nearest = refused.json["nearest_free_offset_seconds"]
    assert (await set_policy(harness, "depot", start_offset_seconds=nearest)).status == 200


async def test_acceptance_9_a_creation_is_checked(
    harness: Harness,
) -> None:
    await fill(harness, 30)
    refused = await put(harness, "depot", start_offset_seconds=30)
    assert told(refused) == FULL
    assert (await harness.ask("GET", "/workspaces/depot")).status == 404
    made = await put(harness, "depot", start_offset_seconds=31)
    assert (made.status, made.json["start_offset_seconds"]) == (201, 31)


async def test_acceptance_9_an_activation_is_checked(
    harness: Harness,
) -> None:
    await fill(harness, 30)
    assert (await put(harness, "depot", active=False, start_offset_seconds=30)).status == 201
    refused = await harness.ask("PATCH", "/workspaces/depot", json={"active": True})
    assert told(refused) == FULL
    assert refused.pointers == ["/active"]
    assert (await harness.get("/workspaces/depot"))["active"] is False
    await set_policy(harness, "south", start_offset_seconds=None)
    assert (await harness.ask("PATCH", "/workspaces/depot", json={"active": True})).status == 200


async def test_acceptance_9_another_interval_is_checked(harness: Harness) -> None:
    """At 600 s north and south meet in every second slot of depot's."""
    await fill(harness, 30)
    for name in ("north", "south"):
        await set_policy(harness, name, poll_interval_seconds=600)
    await put(harness, "depot", poll_interval_seconds=720, start_offset_seconds=31)
    refused = await set_policy(harness, "depot", poll_interval_seconds=300, start_offset_seconds=30)
    assert told(refused) == FULL
    assert (await harness.get("/workspaces/depot/policy"))["poll_interval_seconds"] == 720
    await set_policy(harness, "depot", start_offset_seconds=630)
    # Of 720 and 600 the divisor is 120: 630 and 30 agree, modulo 120.
    assert (await harness.get("/workspaces/depot/policy"))["start_offset_seconds"] == 31
    assert (await set_policy(harness, "depot", poll_interval_seconds=300)).status == 200


async def test_acceptance_9_a_preview_tells_the_refusal(harness: Harness) -> None:
    await fill(harness, 30)
    await put(harness, "depot")
    path = "/workspaces/depot/policy/preview"
    refused = await harness.ask("POST", path, json={"start_offset_seconds": 30})
    assert told(refused) == FULL
    shown = await harness.ask("POST", path, json={"start_offset_seconds": 31})
    assert shown.json["policy"]["start_offset_seconds"] == 31
    assert shown.json["schedule"]["changes"] is True
    assert seconds_of(shown.json["schedule"]["new_next_regular_start_at"]) == 31
    assert (await harness.get("/workspaces/depot/policy"))["start_offset_seconds"] is None


async def test_acceptance_9_without_a_free_second_the_nearest_is_null(harness: Harness) -> None:
    """Of coprime intervals every offset meets every other one."""
    await put(harness, "tram", poll_interval_seconds=61, start_offset_seconds=1)
    await put(harness, "ferry", poll_interval_seconds=67, start_offset_seconds=2)
    refused = await put(harness, "depot", poll_interval_seconds=71, start_offset_seconds=3)
    assert told(refused) == (422, "synchronized-schedule", (3, 2, 2, None))
    assert "No offset of this interval of 71 s is free" in refused.json["detail"]


async def test_acceptance_9_requests_at_once_share_the_last_place(harness: Harness) -> None:
    names = [f"depot-{number}" for number in range(5)]
    for name in names:
        await put(harness, name)
    answers: list[Answer] = []

    async def move(name: str) -> None:
        answers.append(await set_policy(harness, name, start_offset_seconds=30))

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(move, name)
    assert sorted(answer.status for answer in answers) == [200, 200, 422, 422, 422]


async def test_sc_09_no_second_has_more_than_one_percent_by_offsets(harness: Harness) -> None:
    """Three hundred workspaces are active: three may start in one second."""
    await execute(
        harness,
        "INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since) "
        "SELECT 'fleet-' || n, 'Fleet', 10 + n, clock_timestamp() FROM generate_series(0, 297) n",
    )
    accepted = []
    for number in range(8):
        answer = await set_policy(harness, f"fleet-{number}", start_offset_seconds=30)
        if answer.status == 422:
            free = answer.json["nearest_free_offset_seconds"]
            assert answer.json["most_in_second"] == 3
            answer = await set_policy(harness, f"fleet-{number}", start_offset_seconds=free)
        assert answer.status == 200
        accepted.append(answer.json["start_offset_seconds"])
    assert accepted == [30, 30, 30, 31, 31, 31, 29, 29]


async def test_the_next_start_is_at_the_offset(harness: Harness) -> None:
    assert (await set_policy(harness, "north", start_offset_seconds=42)).status == 200
    cycle = (await harness.ask("POST", "/workspaces/north/cycles")).json
    slot_at = datetime.fromisoformat(cycle["slot_start_at"])
    assert slot_at.timestamp() % 300 == 42
    one = await harness.get(f"/workspaces/north/cycles/{cycle['cycle_id']}")
    assert (one["outcome"], one["slot_start_at"]) == ("scheduled", cycle["slot_start_at"])


async def test_null_gives_the_place_of_the_service_back(harness: Harness) -> None:
    before = (await harness.ask("POST", "/workspaces/north/cycles")).json
    await set_policy(harness, "north", start_offset_seconds=42)
    cleared = await set_policy(harness, "north", start_offset_seconds=None)
    assert cleared.json["start_offset_seconds"] is None
    assert (await harness.ask("POST", "/workspaces/north/cycles")).json == before
    await set_policy(harness, "north", start_offset_seconds=42)
    assert (await set_policy(harness, "north", "PUT")).json["start_offset_seconds"] is None


async def test_a_lower_interval_needs_a_lower_offset(harness: Harness) -> None:
    await set_policy(harness, "north", start_offset_seconds=200)
    refused = await set_policy(harness, "north", poll_interval_seconds=60)
    assert (refused.status, refused.problem) == (422, "invalid-body")
    assert refused.pointers == ["/start_offset_seconds"]
    assert "which is 60" in refused.json["errors"][0]["detail"]
    lower = await set_policy(harness, "north", poll_interval_seconds=60, start_offset_seconds=20)
    assert lower.status == 200


async def test_a_new_workspace_names_a_contradiction(harness: Harness) -> None:
    refused = await put(harness, "depot", poll_interval_seconds=60, start_offset_seconds=60)
    assert (refused.status, refused.problem) == (422, "invalid-body")
    assert refused.pointers == ["/start_offset_seconds"]


@pytest.mark.parametrize(("named", "status"), [(42, 200), (43, 409), (None, 409)])
async def test_the_offset_of_a_workspace_has_its_own_door(
    harness: Harness, named: int | None, status: int
) -> None:
    await set_policy(harness, "north", start_offset_seconds=42)
    answer = await put(harness, "north", start_offset_seconds=named)
    assert answer.status == status
    if status == 409:
        assert answer.json["errors"][0]["detail"].startswith("It is 42. Change it at")
    assert (await harness.get("/workspaces/north"))["start_offset_seconds"] == 42


async def test_the_history_has_the_offset_and_what_was_before(harness: Harness) -> None:
    await set_policy(harness, "north", start_offset_seconds=42)
    items = (await harness.get("/workspaces/north/policy/history"))["items"]
    assert [item["policy"]["start_offset_seconds"] for item in items] == [42, None]


async def test_a_policy_of_an_older_release_had_no_offset(harness: Harness) -> None:
    """Its entry in the history does not name one."""
    await harness.stores.registry.put_workspace("old", name="Old")
    await execute(
        harness,
        "UPDATE changes SET after = after - 'start_offset_seconds' WHERE workspace_id = 'old'",
    )
    (item,) = (await harness.get("/workspaces/old/policy/history"))["items"]
    assert item["policy"]["start_offset_seconds"] is None


async def test_a_fleet_check_names_the_offset(harness: Harness) -> None:
    policy = {"poll_interval_seconds": 60, "start_offset_seconds": 60}
    body = {"workspaces": [{"workspace_id": "depot", "policy": policy}]}
    refused = await harness.ask("POST", "/fleet/check", json=body)
    assert refused.pointers == ["/workspaces/0/policy/start_offset_seconds"]


async def execute(harness: Harness, statement: str) -> None:
    registry: Any = harness.stores.registry
    await registry._database.run(lambda connection: connection.execute(statement))


def seconds_of(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp()) % 300
