"""Workspaces are configured by PUT, and shown as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def test_a_new_workspace_is_201_and_the_same_again_200(
    harness: Harness,
) -> None:
    made = await harness.ask("PUT", "/workspaces/depot", json={"name": "Depot"})
    assert (made.status, made.json) == (
        201,
        {
            "workspace_id": "depot",
            "name": "Depot",
            "active": True,
            "time_zone": "UTC",
            "archived_at": None,
            "poll_interval_seconds": 300,
            "start_offset_seconds": None,
            "thresholds": {
                "freshness_target_seconds": 300.0,
                "delayed_after_seconds": 360.0,
                "stale_after_seconds": 900.0,
                "grace_seconds": 3600.0,
            },
            "config_version": made.json["config_version"],
        },
    )
    again = await harness.ask("PUT", "/workspaces/depot", json={"name": "Depot"})
    assert (again.status, again.json) == (200, made.json)
    assert await harness.get("/workspaces/depot") == made.json


async def test_a_change_nudges_the_actors(harness: Harness) -> None:
    await harness.ask("PUT", "/workspaces/north", json={"name": "Renamed"})
    assert harness.nudged.times == 1
    assert (await harness.get("/workspaces/north"))["name"] == "Renamed"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "a\u0000b"}, ["/name"]),
        ({"name": "x", "colour": "red"}, ["/colour"]),
        ({"name": "x", "time_zone": "Europe/Munich"}, ["/time_zone"]),
        ({"name": "x", "time_zone": None}, ["/time_zone"]),
        ({"name": "x", "poll_interval_seconds": 59}, ["/poll_interval_seconds"]),
        ({"name": "x", "poll_interval_seconds": 3601}, ["/poll_interval_seconds"]),
        ({"name": "x", "poll_interval_seconds": "300"}, ["/poll_interval_seconds"]),
        ({"name": "x", "poll_interval_seconds": 300.5}, ["/poll_interval_seconds"]),
        ({"name": "x", "poll_interval_seconds": True}, ["/poll_interval_seconds"]),
        (
            {"name": "x", "thresholds": {"delayed_after_seconds": 299}},
            ["/thresholds/delayed_after_seconds"],
        ),
        (
            {"name": "x", "thresholds": {"stale_after_seconds": 360}},
            ["/thresholds/stale_after_seconds"],
        ),
        ({"name": "x", "thresholds": {"grace_seconds": 0}}, ["/thresholds/grace_seconds"]),
    ],
)
async def test_what_is_wrong_is_refused_at_its_place(
    harness: Harness, body: Any, pointers: list[str]
) -> None:
    answer = await harness.ask("PUT", "/workspaces/new", json=body)
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", pointers)


async def test_an_interval_with_a_zero_fraction_is_whole(harness: Harness) -> None:
    stored = await harness.ask(
        "PUT", "/workspaces/new", json={"name": "New", "poll_interval_seconds": 120.0}
    )
    assert (stored.status, stored.json["poll_interval_seconds"]) == (201, 120)
    assert b'"poll_interval_seconds":120,' in stored.body


CONFIGURED = {"name": "Depot", "poll_interval_seconds": 600, "thresholds": {"grace_seconds": 60}}


async def put_depot(harness: Harness, **changes: Any) -> Any:
    """Make a workspace that is switched off, with an interval, a limit and a zone of its own."""
    body = {**CONFIGURED, "active": False, "time_zone": "Asia/Tokyo", **changes}
    made = await harness.ask("PUT", "/workspaces/depot", json=body)
    assert made.status == 201, made.body
    return made.json


async def test_a_rename_changes_the_name_and_nothing_else(harness: Harness) -> None:
    made = await put_depot(harness)
    for method in ("PUT", "PATCH"):
        renamed = await harness.ask(method, "/workspaces/depot", json={"name": method})
        assert renamed.status == 200
        assert renamed.json | {"config_version": 0} == made | {"name": method, "config_version": 0}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"poll_interval_seconds": 300}, ["/poll_interval_seconds"]),
        ({"thresholds": {"grace_seconds": 61}}, ["/thresholds/grace_seconds"]),
        (
            {"thresholds": {"delayed_after_seconds": 299, "stale_after_seconds": 1}},
            ["/thresholds/delayed_after_seconds", "/thresholds/stale_after_seconds"],
        ),
    ],
)
async def test_the_policy_of_a_workspace_has_its_own_door(
    harness: Harness, method: str, change: Any, pointers: list[str]
) -> None:
    await put_depot(harness)
    before = await harness.get("/workspaces/depot")
    answer = await harness.ask(method, "/workspaces/depot", json={"name": "Other", **change})
    assert (answer.status, answer.problem, answer.pointers) == (409, "conflict", pointers)
    assert "/workspaces/depot/policy" in answer.json["errors"][0]["detail"]
    assert await harness.get("/workspaces/depot") == before


async def test_a_policy_that_is_named_as_it_is_is_accepted(harness: Harness) -> None:
    made = await put_depot(harness)
    again = await harness.ask("PUT", "/workspaces/depot", json=CONFIGURED)
    whole = {name: made[name] for name in ("name", "active", *CONFIGURED)}
    shown = await harness.ask("PUT", "/workspaces/depot", json=whole)
    assert (again.status, again.json, shown.json) == (200, made, made)


@pytest.mark.parametrize("name", ["active", "poll_interval_seconds", "thresholds", "name"])
async def test_a_patch_takes_away_nothing_that_has_no_default(harness: Harness, name: str) -> None:
    answer = await harness.ask("PATCH", "/workspaces/north", json={name: None})
    assert (answer.status, answer.pointers) == (422, [f"/{name}"])


async def test_workspaces_are_listed_in_pages(harness: Harness) -> None:
    pages = await harness.walk("/workspaces?limit=1")
    assert [[row["workspace_id"] for row in page["items"]] for page in pages] == [
        ["north"],
        ["south"],
    ]


async def test_thresholds_of_the_workspace_decide_its_health(harness: Harness) -> None:
    body = {"grace_seconds": 30, "stale_after_seconds": 1200}
    await harness.ask("PATCH", "/workspaces/north/policy", json=body, headers={"If-Match": "*"})
    thresholds = (await harness.get("/workspaces/north/health"))["items"][0]["thresholds"]
    assert (
        thresholds["grace_seconds"],
        thresholds["stale_after_seconds"],
        thresholds["source"],
    ) == (
        30.0,
        1200.0,
        "workspace",
    )
