"""Keys as a resource: who may make, list and revoke which, and when a revocation holds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app
from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness


async def make(harness: Harness, key: str = "admin", **body: Any) -> Answer:
    return await harness.ask("POST", "/keys", key=key, json={"name": "liaison", **body})


async def names(harness: Harness, key: str, query: str = "") -> list[str]:
    pages = await harness.walk(f"/keys{query}", key=key)
    return [item["name"] for page in pages for item in page["items"]]


async def test_a_new_key_opens_what_it_says_and_is_shown_once(harness: Harness) -> None:
    made = await make(harness, workspaces=["north"], expires_at="2099-01-01T00:00:00Z")
    assert made.status == 201
    token, key_id = made.json["token"], made.json["key_id"]
    assert (made.json["scopes"], made.json["state"]) == (["read"], "active")
    assert (await harness.ask("GET", "/workspaces/north", key=token)).status == 200
    assert (await harness.ask("GET", "/workspaces/south", key=token)).status == 404
    listed = await harness.ask("GET", "/keys", key="admin")
    assert token.rpartition("_")[2].encode() not in listed.body
    (shown,) = [item for item in listed.json["items"] if item["key_id"] == key_id]
    assert shown == {
        name: value for name, value in made.json.items() if name not in ("token", "warnings")
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": " "}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a\0"}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "0123456789abcdef"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["write"]}, "/scopes/0"),
        ({"workspaces": []}, "/workspaces"),
        ({"workspaces": ["a b"]}, "/workspaces/0"),
        ({"expires_at": START.isoformat()}, "/expires_at"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"secret": "x"}, "/secret"),
    ],
)
async def test_a_fault_names_its_field_and_makes_no_key(
    harness: Harness, body: dict[str, Any], pointer: str
) -> None:
    before = await names(harness, "admin")
    answer = await make(harness, **body)
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", [pointer])
    assert await names(harness, "admin") == before


async def test_a_name_is_unique_also_among_revoked_keys(harness: Harness) -> None:
    first = await make(harness)
    await harness.ask("DELETE", f"/keys/{first.json['key_id']}", key="admin")
    again = await make(harness, name=" liaison ")
    assert (again.status, again.problem, again.pointers) == (409, "conflict", ["/name"])


async def test_a_workspace_that_does_not_exist_is_a_warning(harness: Harness) -> None:
    made = await make(harness, workspaces=["north", "nroth"])
    assert made.status == 201
    assert [warning["pointer"] for warning in made.json["warnings"]] == ["/workspaces/1"]


async def test_a_limited_key_makes_only_keys_within_its_own(harness: Harness) -> None:
    assert (await make(harness, key="north", workspaces=["north"])).status == 201
    refused = [
        await make(harness, key="north", name="x", workspaces=workspaces)
        for workspaces in (None, ["south"], ["elsewhere"], ["north", "south"])
    ]
    assert {(answer.status, answer.problem) for answer in refused} == {(403, "key-not-allowed")}
    places = ["/workspaces", "/workspaces/0", "/workspaces/0", "/workspaces/1"]
    assert [answer.pointers for answer in refused] == [[place] for place in places]
    foreign, absent = (answer.json["errors"] for answer in refused[1:3])
    assert foreign == absent, "it must not tell that south exists"


async def test_a_limited_key_sees_and_revokes_only_keys_within(harness: Harness) -> None:
    await harness.add_key("of south", ["read"], ["south"], key_id="ofsouth")
    await harness.add_key("of both", ["read"], ["north", "south"], key_id="ofboth")
    assert await names(harness, "north") == ["gateway", "north"]
    for key_id in ("ofsouth", "ofboth", "ofnobody"):
        answer = await harness.ask("DELETE", f"/keys/{key_id}", key="north")
        assert (answer.status, answer.problem) == (404, "not-found")
    assert (await harness.ask("DELETE", "/keys/ofnorth", key="north")).status == 200


async def test_a_revoked_key_is_refused_by_every_shard_at_once(harness: Harness) -> None:
    """Both shards have the token in their cache when it is revoked."""
    other = create_app(harness.make_services()).test_client()
    headers = {"Authorization": f"Bearer {harness.tokens['gateway']}"}
    for client in (harness.client, other):
        before = await client.post("/api/telematics-mvp/ingest", headers=headers, json={})
        assert before.status_code == 422
    assert (await harness.ask("DELETE", "/keys/ofnorth", key="admin")).status == 200
    for client in (other, harness.client):
        for _ in range(2):
            after = await client.post("/api/telematics-mvp/ingest", headers=headers, json={})
            assert after.status_code == 401


async def test_to_revoke_a_key_again_changes_nothing_and_says_so(harness: Harness) -> None:
    first, again = [await harness.ask("DELETE", "/keys/ofnorth", key="admin") for _ in range(2)]
    assert (first.json["was_revoked"], again.json["was_revoked"]) == (False, True)
    assert {**again.json, "was_revoked": False} == first.json
    assert first.json["state"] == "revoked"
    assert "gateway" not in await names(harness, "admin")
    assert "gateway" in await names(harness, "admin", "?include_revoked=true")


async def test_a_key_cannot_revoke_itself(harness: Harness) -> None:
    made = (await make(harness, scopes=["admin"])).json
    answer = await harness.ask("DELETE", f"/keys/{made['key_id']}", key=made["token"])
    assert (answer.status, answer.problem) == (409, "conflict")
    assert await names(harness, made["token"])


async def test_a_key_past_its_end_is_listed_as_expired(harness: Harness) -> None:
    await harness.add_key("brief", ["read"], None, expires_at=START + timedelta(seconds=60))
    harness.let_pass(60)
    (state,) = [
        item["state"]
        for item in (await harness.get("/keys", key="admin"))["items"]
        if item["name"] == "brief"
    ]
    assert state == "expired"


async def test_a_list_of_keys_has_pages(harness: Harness) -> None:
    everything = await names(harness, "admin")
    assert await names(harness, "admin", "?limit=2") == everything == sorted(everything)


async def test_the_last_use_is_written_together_and_not_by_requests(harness: Harness) -> None:
    async def last_use(name: str) -> str | None:
        items = (await harness.get("/keys", key="admin"))["items"]
        found: str | None = next(item["last_used_at"] for item in items if item["name"] == name)
        return found

    await harness.get("/workspaces", key="read")
    harness.let_pass(61)
    await harness.get("/workspaces", key="read")
    await harness.ask("GET", "/workspaces", key="lh_0123456789abcdef_00")
    assert await last_use("read") is None
    await harness.key_uses.write()
    minute = (START + timedelta(seconds=61)).replace(second=0, microsecond=0)
    assert await last_use("read") == minute.isoformat().replace("+00:00", "Z")
    assert await last_use("control") is None
