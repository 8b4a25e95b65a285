"""A workspace's policy has one door, and a revision of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

PATH = "/workspaces/north/policy"
ANY = {"If-Match": "*"}
DEFAULT = {
    "workspace_id": "north",
    "freshness_target_seconds": 300.0,
    "delayed_after_seconds": 360.0,
    "stale_after_seconds": 900.0,
    "grace_seconds": 3600.0,
    "poll_interval_seconds": 300,
    "start_offset_seconds": None,
}


async def write(harness: Harness, method: str, body: Any, match: str | None = "*") -> Answer:
    headers = {} if match is None else {"If-Match": match}
    return await harness.ask(method, PATH, json=body, headers=headers)


async def test_a_put_replaces_the_policy_and_a_patch_a_part(harness: Harness) -> None:
    put = await write(harness, "PUT", {"grace_seconds": 60, "poll_interval_seconds": 600})
    assert put.json == {**DEFAULT, "grace_seconds": 60.0, "poll_interval_seconds": 600}
    patched = await write(harness, "PATCH", {"stale_after_seconds": 1200})
    assert patched.json == {**put.json, "stale_after_seconds": 1200.0}
    assert await harness.get(PATH) == patched.json
    reset = await write(harness, "PATCH", {"grace_seconds": None})
    assert reset.json == {**patched.json, "grace_seconds": 3600.0}
    assert (await write(harness, "PUT", {})).json == DEFAULT


async def test_the_workspace_shows_its_policy(harness: Harness) -> None:
    await write(harness, "PATCH", {"grace_seconds": 60, "poll_interval_seconds": 600})
    shown = await harness.get("/workspaces/north")
    assert (shown["poll_interval_seconds"], shown["thresholds"]["grace_seconds"]) == (600, 60.0)
    assert harness.nudged.times == 1


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"poll_interval_seconds": 59}, ["/poll_interval_seconds"]),
        ({"poll_interval_seconds": 3601}, ["/poll_interval_seconds"]),
        ({"poll_interval_seconds": "300"}, ["/poll_interval_seconds"]),
        ({"poll_interval_seconds": 300.5}, ["/poll_interval_seconds"]),
        ({"delayed_after_seconds": 299}, ["/delayed_after_seconds"]),
        ({"stale_after_seconds": 360}, ["/stale_after_seconds"]),
        ({"freshness_target_seconds": 361}, ["/delayed_after_seconds"]),
        (
            {"freshness_target_seconds": 900, "delayed_after_seconds": 899},
            ["/delayed_after_seconds", "/stale_after_seconds"],
        ),
        ({"start_offset_seconds": 300}, ["/start_offset_seconds"]),
        ({"start_offset_seconds": -1}, ["/start_offset_seconds"]),
        ({"start_offset_seconds": 12.5}, ["/start_offset_seconds"]),
        ({"start_offset_seconds": "12"}, ["/start_offset_seconds"]),
        (
            {"start_offset_seconds": 60, "poll_interval_seconds": 60},
            ["/start_offset_seconds"],
        ),
        ({"grace_seconds": 0}, ["/grace_seconds"]),
        ({"thresholds": {"grace_seconds": 60}}, ["/thresholds"]),
        ({"grace_second": 60}, ["/grace_second"]),
        ({"grace_second": None}, ["/grace_second"]),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_policy_is_judged_whole_and_stored_whole(
    harness: Harness, method: str, body: Any, pointers: list[str]
) -> None:
    if pointers == ["/delayed_after_seconds", "/stale_after_seconds"]:
        body = {**body, "stale_after_seconds": 899}
    answer = await write(harness, method, body)
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", pointers)
    assert await harness.get(PATH) == DEFAULT


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"[]", 422),
        (b"3", 422),
        (b"null", 422),
        (b'{"grace_seconds": 1e400}', 400),
        (b'{"grace_seconds": NaN}', 400),
        (b"", 400),
        (b'{"a":' * 300 + b"1" + b"}" * 300, 422),
        (b"[" * 300 + b"]" * 300, 422),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, 400),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_is_no_policy_is_refused(
    harness: Harness, method: str, data: bytes, status: int
) -> None:
    headers = {**ANY, "Content-Type": "application/json"}
    answer = await harness.ask(method, PATH, data=data, headers=headers)
    assert answer.status == status, answer.body
    assert await harness.get(PATH) == DEFAULT


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/merge-patch+json", 200),
        ("application/json", 200),
        ("text/plain", 415),
    ],
)
async def test_a_patch_has_its_media_type(harness: Harness, media_type: str, status: int) -> None:
    headers = {**ANY, "Content-Type": media_type}
    answer = await harness.ask("PATCH", PATH, data=b'{"grace_seconds": 60}', headers=headers)
    assert answer.status == status


async def test_a_patch_is_judged_with_what_stays(harness: Harness) -> None:
    assert (await write(harness, "PATCH", {"stale_after_seconds": 1200})).status == 200
    assert (await write(harness, "PATCH", {"delayed_after_seconds": 1000})).status == 200
    refused = await write(harness, "PATCH", {"stale_after_seconds": 999})
    assert (refused.status, refused.pointers) == (422, ["/stale_after_seconds"])


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_write_without_if_match_is_428(harness: Harness, method: str) -> None:
    answer = await write(harness, method, {"grace_seconds": 60}, match=None)
    assert (answer.status, answer.problem) == (428, "precondition-required")
    assert "If-Match" in answer.json["detail"]
    assert await harness.get(PATH) == DEFAULT


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_stale_tag_of_the_policy_changes_nothing(harness: Harness, method: str) -> None:
    seen = (await harness.ask("GET", PATH)).headers["etag"]
    mine = await write(harness, method, {"grace_seconds": 60}, seen)
    theirs = await write(harness, method, {"grace_seconds": 90}, seen)
    assert (mine.status, theirs.status, theirs.problem) == (200, 412, "precondition-failed")
    assert mine.headers["etag"] == theirs.headers["etag"] != seen
    assert (await harness.get(PATH))["grace_seconds"] == 60.0


async def test_policy_and_workspace_have_revisions_apart(harness: Harness) -> None:
    policy = (await harness.ask("GET", PATH)).headers["etag"]
    workspace = (await harness.ask("GET", "/workspaces/north")).headers["etag"]
    await harness.ask("PUT", "/workspaces/north", json={"name": "Renamed"})
    renamed = (await harness.ask("GET", "/workspaces/north")).headers["etag"]
    assert renamed != workspace
    assert (await write(harness, "PATCH", {"grace_seconds": 60}, policy)).status == 200
    after = (await harness.ask("GET", "/workspaces/north")).headers["etag"]
    assert after == renamed
