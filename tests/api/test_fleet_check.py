"""POST /fleet/check: a fleet is judged as a whole before any of it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.api.test_access import PROVIDER

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

CONNECTION = {**PROVIDER, "provider_id": "new", "base_url": "https://checked.example"}


async def _check(harness: Harness, *workspaces: dict[str, Any], key: str = "all") -> Answer:
    return await harness.ask("POST", "/fleet/check", key=key, json={"workspaces": workspaces})


async def test_what_would_be_taken_is_taken_and_not_stored(harness: Harness) -> None:
    answer = await _check(
        harness,
        {"workspace_id": "none-yet", "policy": {}, "connections": [CONNECTION]},
        {"workspace_id": "north", "connections": [{**CONNECTION, "provider_id": "live"}]},
    )
    assert (answer.status, answer.json) == (200, {"warnings": []})
    missing = await harness.ask("GET", "/workspaces/none-yet", key="all")
    assert missing.status == 404
    present = await harness.ask("GET", "/workspaces/north/providers/live", key="all")
    assert present.json["base_url"] != CONNECTION["base_url"]


async def test_every_fault_is_named_with_its_place(harness: Harness) -> None:
    wrong = {**CONNECTION, "base_url": "vendor.example", "transport": "push"}
    answer = await _check(
        harness,
        {"workspace_id": "north", "policy": {"stale_after_seconds": 300}},
        {"workspace_id": "west", "connections": [CONNECTION, wrong]},
    )
    assert answer.status == 422
    places = [fault["pointer"] for fault in answer.json["errors"]]
    assert places[0] == "/workspaces/0/policy/stale_after_seconds"
    assert "/workspaces/1/connections/1/base_url" in places
    assert not any(place.startswith("/workspaces/1/connections/0") for place in places)


async def test_a_secret_that_is_missing_now_is_a_warning(harness: Harness) -> None:
    connection = {**CONNECTION, "credential": "env:LASTHEARD_SECRET_NOT_THERE"}
    answer = await _check(harness, {"workspace_id": "north", "connections": [connection]})
    (warning,) = answer.json["warnings"]
    assert warning["pointer"] == "/workspaces/0/connections/0/credential"


async def test_a_limited_key_judges_its_own_workspaces_only(harness: Harness) -> None:
    """What others have configured shows in no answer, not even by a repeated credential."""
    connection = {**CONNECTION, "credential": "env:LASTHEARD_SECRET_NEW"}
    asked = [{"workspace_id": one, "connections": [connection]} for one in ("south", "nobody")]
    answers = [await _check(harness, one, key="north") for one in asked]
    assert [answer.status for answer in answers] == [422, 422]
    assert answers[0].json["errors"] == answers[1].json["errors"]
    (fault,) = answers[0].json["errors"]
    assert fault["pointer"] == "/workspaces/0/workspace_id"


async def test_a_credential_that_the_key_may_not_name_is_a_fault(harness: Harness) -> None:
    connection = {**CONNECTION, "credential": "env:LASTHEARD_SECRET_NEW"}
    answer = await _check(
        harness, {"workspace_id": "north", "connections": [connection]}, key="north"
    )
    assert answer.status == 422
    (fault,) = answer.json["errors"]
    assert fault["pointer"] == "/workspaces/0/connections/0/credential"
