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
            "poll_interval_seconds": 300,
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
    await harness.ask(
        "PUT", "/workspaces/north", json={"name": "North", "poll_interval_seconds": 600}
    )
    assert harness.nudged.times == 1
    assert (await harness.get("/workspaces/north"))["poll_interval_seconds"] == 600


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "a\u0000b"}, ["/name"]),
        ({"name": "x", "colour": "red"}, ["/colour"]),
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
    answer = await harness.ask("PUT", "/workspaces/north", json=body)
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", pointers)


async def test_an_interval_with_a_zero_fraction_is_whole(harness: Harness) -> None:
    stored = await harness.ask(
        "PUT", "/workspaces/north", json={"name": "North", "poll_interval_seconds": 120.0}
    )
    assert (stored.status, stored.json["poll_interval_seconds"]) == (200, 120)
    assert b'"poll_interval_seconds":120,' in stored.body


async def test_workspaces_are_listed_in_pages(harness: Harness) -> None:
    pages = await harness.walk("/workspaces?limit=1")
    assert [[row["workspace_id"] for row in page["items"]] for page in pages] == [
        ["north"],
        ["south"],
    ]


async def test_thresholds_of_the_workspace_decide_its_health(harness: Harness) -> None:
    body = {"name": "North", "thresholds": {"grace_seconds": 30, "stale_after_seconds": 1200}}
    await harness.ask("PUT", "/workspaces/north", json=body)
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
