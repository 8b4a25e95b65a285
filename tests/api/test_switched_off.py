"""Things that are switched off say so, and the list of workspaces counts by the health rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

NORTH = "/workspaces/north"
PUSH = {"provider_type": "push", "transport": "push", "base_url": ""}


async def reasons(harness: Harness) -> set[tuple[str, str, str]]:
    """Return state, reason and party of the workspace's devices."""
    items = (await harness.get(f"{NORTH}/health"))["items"]
    return {(item["state"], item["reason"], item["party"]) for item in items}


async def switch(harness: Harness, path: str, *, active: bool) -> None:
    answer = await harness.ask("PATCH", path, json={"active": active})
    assert (answer.status, answer.json["active"]) == (200, active)


async def test_the_health_of_an_inactive_workspace_says_switched_off(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    await switch(harness, NORTH, active=False)
    assert ("healthy", "reporting", "none") in await reasons(harness)
    harness.let_pass(3601)
    found = await harness.get(f"{NORTH}/health")
    assert await reasons(harness) == {
        ("stale", "switched_off", "customer"),
        ("configured-no-data", "switched_off", "customer"),
    }
    for item in found["items"]:
        (cause,) = [one for one in item["evidence"]["causes"] if one["reason"] == "switched_off"]
        assert (cause["detail"], cause["since"] is not None) == ("the workspace is inactive", True)
    assert (found["counts"]["stale"], found["counts"]["configured-no-data"]) == (1, 2)
    await switch(harness, NORTH, active=True)
    assert "switched_off" not in {reason for _, reason, _ in await reasons(harness)}


async def test_an_inactive_workspace_is_on_no_worklist(harness: Harness) -> None:
    harness.let_pass(3601)
    await switch(harness, NORTH, active=False)
    assert (await harness.get(f"{NORTH}/issues"))["items"] == []
    listed = (await harness.get("/worklist"))["items"]
    assert {item["workspace_id"] for item in listed} == {"south"}


async def test_health_and_issues_say_that_the_workspace_is_inactive(harness: Harness) -> None:
    for active in (False, True):
        await switch(harness, NORTH, active=active)
        for path in ("health", "issues"):
            assert (await harness.get(f"{NORTH}/{path}"))["workspace_active"] is active


async def test_a_paused_connection_promises_no_next_poll(harness: Harness) -> None:
    async def next_polls() -> set[str | None]:
        items = (await harness.get(f"{NORTH}/health"))["items"]
        return {item["evidence"]["next_poll_at"] for item in items}

    assert None not in await next_polls()
    await switch(harness, f"{NORTH}/providers/live", active=False)
    assert await next_polls() == {None}


async def test_the_devices_of_a_paused_connection_say_switched_off(harness: Harness) -> None:
    harness.let_pass(3601)
    await switch(harness, f"{NORTH}/providers/live", active=False)
    assert await reasons(harness) == {("configured-no-data", "switched_off", "customer")}


async def test_a_put_that_names_no_activity_leaves_a_connection_paused(harness: Harness) -> None:
    path = f"{NORTH}/providers/hourly"
    await switch(harness, path, active=False)
    body = {"provider_type": "spoken", "transport": "poll", "base_url": "https://provider.example"}
    answer = await harness.ask("PUT", path, json=body)
    assert (answer.json["active"], answer.json["expected_update_seconds"]) == (False, None)


# --- GET /workspaces


async def counted(harness: Harness, **rest: Any) -> dict[str, Any]:
    items = (await harness.get("/workspaces", **rest))["items"]
    return {item["workspace_id"]: item["counts"] for item in items}


async def test_fr_005_workspaces_are_listed_with_the_counts_of_their_health(
    harness: Harness,
) -> None:
    """FR-005: at each moment the counts are those of the health report."""
    await harness.report("bus-1", soc_percent=50.0)
    await harness.report("bus-2", workspace="south", soc_percent=50.0)
    await harness.ask("PUT", "/workspaces/empty", json={"name": "Empty"})
    for seconds in (0, 361, 600, 3000):
        harness.let_pass(seconds)
        found = await counted(harness)
        for name, counts in found.items():
            report = await harness.get(f"/workspaces/{name}/health")
            assert counts == report["counts"], (name, seconds)
    assert {name: sum(counts.values()) for name, counts in found.items()} == {
        "empty": 0,
        "north": 3,
        "south": 3,
    }


async def test_inactive_workspaces_are_counted_as_in_their_health(harness: Harness) -> None:
    await switch(harness, NORTH, active=False)
    report = await harness.get(f"{NORTH}/health")
    assert (await counted(harness))["north"] == report["counts"]
    assert sum(report["counts"].values()) == 3


async def test_a_limited_key_gets_the_counts_of_its_workspaces(harness: Harness) -> None:
    assert list(await counted(harness, key="north")) == ["north"]


async def test_all_pages_of_workspaces_are_counted_at_one_instant(harness: Harness) -> None:
    first = await harness.get("/workspaces?limit=1")
    harness.let_pass(3601)
    second = await harness.get(f"/workspaces?limit=1&cursor={first['next_cursor']}")
    assert second["evaluated_at"] == first["evaluated_at"]
    assert second["items"][0]["counts"]["awaiting-first-data"] == 3


async def test_no_cycle_runs_at_once_that_would_ask_nothing(harness: Harness) -> None:
    async def ask() -> Answer:
        return await harness.ask("POST", f"{NORTH}/cycles", json={"when": "now"})

    for provider_id, status in (("live", 202), ("hourly", 409)):
        await switch(harness, f"{NORTH}/providers/{provider_id}", active=False)
        answer = await ask()
        assert answer.status == status, provider_id
    assert answer.problem == "conflict"
    assert answer.json["detail"] == (
        "All connections that a cycle would ask are switched off. "
        'Switch one on first: PATCH it with {"active": true}.'
    )
    await switch(harness, f"{NORTH}/providers/hourly", active=True)
    assert (await ask()).status == 202


@pytest.mark.parametrize(
    ("connections", "said"),
    [
        ([], "The workspace has no connection, so nothing would be asked. Add one."),
        (
            [PUSH],
            "Clients send over the connections of this workspace, so nothing would be asked.",
        ),
    ],
    ids=["none", "push only"],
)
async def test_a_run_without_a_connection_to_ask_is_refused(
    harness: Harness, connections: list[dict[str, Any]], said: str
) -> None:
    await harness.ask("PUT", "/workspaces/new", json={"name": "New"})
    for body in connections:
        made = await harness.ask("PUT", "/workspaces/new/providers/push", json=body)
        assert made.status == 201, made.body
    refused = await harness.ask("POST", "/workspaces/new/cycles", json={"when": "now"})
    assert (refused.status, refused.json["detail"]) == (409, said)
