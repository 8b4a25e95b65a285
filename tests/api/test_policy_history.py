"""The history of a policy shows each version with the time for which it held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.challenges import read_key

if TYPE_CHECKING:
    from tests.api.harness import Harness

POLICY = "/workspaces/north/policy"
HISTORY = f"{POLICY}/history"


async def change(harness: Harness, **policy: Any) -> None:
    answer = await harness.ask(
        "PATCH", POLICY, json=policy, headers={"If-Match": "*"}, key="control"
    )
    assert answer.status == 200, answer.body


async def test_each_version_ends_when_the_next_one_begins(harness: Harness) -> None:
    await change(harness, grace_seconds=60)
    first = await harness.get(POLICY)
    await change(harness, poll_interval_seconds=600)
    second = await harness.get(POLICY)
    items = (await harness.get(HISTORY, key="control"))["items"]
    assert [item["policy"] for item in items[:2]] == [second, first]
    assert [item["valid_until"] for item in items] == [
        None,
        *(item["valid_from"] for item in items[:-1]),
    ]
    key_id = read_key(harness.tokens["control"]).key_id
    assert [(item["who"], item["key_name"]) for item in items] == [
        (key_id, "control"),
        (key_id, "control"),
        ("system", None),
    ]


async def test_only_changes_of_this_policy_are_in_it(harness: Harness) -> None:
    before = await harness.get(HISTORY)
    await harness.ask("PATCH", "/workspaces/north", json={"name": "Renamed"})
    await harness.ask(
        "PATCH",
        "/workspaces/south/policy",
        json={"grace_seconds": 60},
        headers={"If-Match": "*"},
    )
    await change(harness)  # changes nothing
    assert await harness.get(HISTORY) == before


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_join_without_a_gap(harness: Harness, limit: int) -> None:
    for seconds in (10, 20, 30):
        await change(harness, grace_seconds=seconds)
    whole = (await harness.get(HISTORY))["items"]
    pages = await harness.walk(f"{HISTORY}?limit={limit}")
    assert [item for page in pages for item in page["items"]] == whole
    assert [item["policy"]["grace_seconds"] for item in whole] == [30.0, 20.0, 10.0, 3600.0]
