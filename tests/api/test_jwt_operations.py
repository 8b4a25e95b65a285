"""What a JWT opens: the same as a key of its scopes and workspaces, for every operation."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from api.app import create_app
from api.jwt_claims import MAX_SUBJECT_CHARACTERS
from api.keys import Scope
from domain.changes import ChangeKind
from tests.api.issuer import (
    COGNITO,
    KEYCLOAK,
    Issuer,
    cognito_claims,
    keycloak_claims,
    open_issuer,
    public_jwk,
    sign,
)
from tests.api.standing_time import START
from tests.api.test_access import EVERY, OF_A_WORKSPACE, Case
from tests.api.test_changes import find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.api.harness import Harness

NOW = int(START.timestamp())


@asynccontextmanager
async def serving(harness: Harness, issuer: Issuer, **settings: Any) -> AsyncIterator[None]:
    """Run the issuer, and give the harness an API that takes its tokens."""
    async with open_issuer(issuer, harness.clock, **settings) as found:
        harness.client = create_app(harness.make_services(jwts=found.access)).test_client()
        yield


@pytest.fixture
async def issuer(harness: Harness) -> AsyncIterator[Issuer]:
    issuer = Issuer(harness.clock)
    async with serving(harness, issuer, jwt_all_workspaces="*"):
        yield issuer


@pytest.mark.parametrize("case", EVERY)
async def test_a_token_opens_an_operation_with_its_scope_alone(
    harness: Harness, issuer: Issuer, case: Case
) -> None:
    others = " ".join(set(Scope) - {Scope(case.scope)})
    refused = await case.ask(harness, "north", issuer.token(scope=others, workspaces="*"))
    assert (refused.status, refused.json["required_scope"]) == (403, case.scope)
    opened = await case.ask(harness, "north", issuer.token(scope=case.scope, workspaces="*"))
    assert opened.status == case.status, opened.body


@pytest.mark.parametrize("case", OF_A_WORKSPACE)
async def test_a_workspace_that_no_claim_names_does_not_exist(
    harness: Harness, issuer: Issuer, case: Case
) -> None:
    without = await case.ask(harness, "north", issuer.token(scope=case.scope, workspaces=None))
    other = await case.ask(harness, "south", issuer.token(scope=case.scope))
    assert (without.status, other.status) == (404, 404)
    named = await case.ask(harness, "north", issuer.token(scope=case.scope))
    assert named.status == case.status, named.body


async def test_without_a_claim_of_workspaces_lists_are_empty(
    harness: Harness, issuer: Issuer
) -> None:
    token = issuer.token(scope="read ingest admin", workspaces=None)
    for path in ("/workspaces", "/worklist", "/keys"):
        assert (await harness.get(path, key=token))["items"] == []
    assert (await harness.ask("GET", "/runtime", key=token)).status == 403
    new = {"name": "more", "workspaces": ["north"]}
    assert (await harness.ask("POST", "/keys", key=token, json=new)).problem == "key-not-allowed"
    reading = {"signal": "soc_percent", "value": 50, "observed_at": START.isoformat()}
    update = {"workspace_id": "north", "provider_id": "live", "device_id": "bus-1"}
    body = {"updates": [{**update, "readings": [reading]}]}
    (result,) = (await harness.ask("POST", "/ingest", key=token, json=body)).json["results"]
    assert (result["outcome"], result["reason"]) == ("rejected", "unknown_device")


async def test_words_that_are_no_ids_open_nothing_and_break_nothing(
    harness: Harness, issuer: Issuer
) -> None:
    """PostgreSQL takes no NUL in a text."""
    token = issuer.token(scope="read admin", workspaces=["no\0rth", "x" * 500, "south"])
    for path in ("/workspaces", "/worklist", "/audit"):
        found = {item["workspace_id"] for item in (await harness.get(path, key=token))["items"]}
        assert found <= {"south"}
    assert (await harness.get("/keys", key=token))["items"] == []


async def test_a_subject_of_any_length_is_found_in_the_history(
    harness: Harness, issuer: Issuer
) -> None:
    subject = "ü" * 2 + "x" * (MAX_SUBJECT_CHARACTERS - 2)
    token = issuer.token(sub=subject, scope="control")
    await harness.ask("PATCH", "/workspaces/north", key=token, json={"name": "Renamed"})
    found = await harness.get(f"/workspaces/north/audit?who=jwt:{quote(subject)}", key="control")
    assert [item["after"]["name"] for item in found["items"]] == ["Renamed"]


async def test_a_limited_admin_token_manages_keys_within_its_list(
    harness: Harness, issuer: Issuer
) -> None:
    token = issuer.token(scope="admin", workspaces=["north", "nowhere"])
    seen = await harness.get("/keys", key=token)
    assert {key["name"] for key in seen["items"]} == {"north", "gateway"}
    beyond = {"name": "beyond", "workspaces": ["north", "south"]}
    refused = await harness.ask("POST", "/keys", key=token, json=beyond)
    assert (refused.problem, refused.pointers) == ("key-not-allowed", ["/workspaces/1"])
    new = {"name": "within", "workspaces": ["north"]}
    made = await harness.ask("POST", "/keys", key=token, json=new)
    assert (made.status, made.json["created_by"]) == (201, "jwt:gateway")
    key_id = made.json["key_id"]
    revoked = await harness.ask("DELETE", f"/keys/{key_id}", key=token)
    assert (revoked.status, revoked.json["revoked_by"]) == (200, "jwt:gateway")
    foreign = (await harness.get("/keys", key="admin"))["items"][0]["key_id"]
    assert (await harness.ask("DELETE", f"/keys/{foreign}", key=token)).status == 404


async def test_the_history_names_the_subject_of_a_token(harness: Harness, issuer: Issuer) -> None:
    token = issuer.token(scope="control")
    body = {"grace_seconds": 60}
    answer = await harness.ask(
        "PATCH", "/workspaces/north/policy", key=token, json=body, headers={"If-Match": "*"}
    )
    assert answer.status == 200, answer.body
    assert (await find(harness, ChangeKind.POLICY, "north")).who == "jwt:gateway"


async def test_a_token_as_cognito_gives_it(harness: Harness) -> None:
    issuer = Issuer(harness.clock)
    async with serving(harness, issuer, **COGNITO):
        await opens_what_it_should(harness, sign(cognito_claims(NOW)))
        everywhere = {**cognito_claims(NOW), "scope": "lastheard/read lastheard/workspace:*"}
        seen = await harness.get("/workspaces", key=sign(everywhere))
        assert len(seen["items"]) == 2
        bare = {**cognito_claims(NOW), "scope": "read workspace:north"}
        assert (await harness.ask("GET", "/workspaces", key=sign(bare))).status == 403
        id_token = {**cognito_claims(NOW), "token_use": "id", "client_id": None}
        assert (await harness.ask("GET", "/workspaces", key=sign(id_token))).status == 401


async def test_a_token_as_keycloak_gives_it(harness: Harness) -> None:
    issuer = Issuer(harness.clock)
    issuer.published.append(public_jwk("two", use="enc", alg="RSA-OAEP"))
    async with serving(harness, issuer, **KEYCLOAK):
        await opens_what_it_should(harness, sign(keycloak_claims(NOW), typ="JWT"))
    roles = {"jwt_scope_claim": "realm_access.roles", "jwt_scope_prefix": "lastheard-"}
    async with serving(harness, issuer, **{**KEYCLOAK, **roles}):
        token = sign(keycloak_claims(NOW), typ="JWT")
        assert (await harness.ask("GET", "/workspaces", key=token)).status == 403
        sent = await harness.ask("POST", "/ingest", key=token, json={"updates": []})
        assert sent.status == 200


async def opens_what_it_should(harness: Harness, token: str) -> None:
    """Check a token of the scopes read and ingest for the workspace north."""
    seen = await harness.get("/workspaces", key=token)
    assert [row["workspace_id"] for row in seen["items"]] == ["north"]
    sent = await harness.ask("POST", "/ingest", key=token, json={"updates": []})
    assert sent.status == 200
    put = await harness.ask("PUT", "/workspaces/north", key=token, json={"name": "Mine"})
    assert put.status == 403
    assert (await harness.ask("GET", "/workspaces/south", key=token)).status == 404
