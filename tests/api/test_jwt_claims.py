"""What the claims of a JWT grant: scopes, workspaces, and nothing that they do not name."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access import Access
from api.jwt_claims import BadToken, JwtRules, read_claims
from domain.ids import is_id
from tests.api.standing_time import START

NOW = START.timestamp()
ALL = JwtRules(
    issuer="https://issuer.example",
    audiences=frozenset({"lastheard"}),
    algorithms=frozenset({"RS256"}),
    all_workspaces="*",
)
IN_SCOPE = {"workspaces_claim": "scope", "workspaces_prefix": "lastheard/workspace:"}


class Case(NamedTuple):
    """Claims beside the required ones, rules beside the usual ones, and what they grant."""

    name: str
    claims: dict[str, Any]
    rules: dict[str, Any]
    scopes: set[str]
    workspaces: set[str] | None


CASES = (
    Case("nothing", {}, {}, set(), set()),
    Case("a text", {"scope": "read  ingest"}, {}, {"read", "ingest"}, set()),
    Case("a list", {"scope": ["read", "admin"]}, {}, {"read", "admin"}, set()),
    Case("a list is not split", {"scope": ["read admin"]}, {}, set(), set()),
    Case("unknown words", {"scope": "openid read READ"}, {}, {"read"}, set()),
    Case("every scope", {"scope": "read ingest follow_up control admin"}, {},
         {"read", "ingest", "follow_up", "control", "admin"}, set()),
    Case("a prefix", {"scope": "lastheard/read other/admin control"},
         {"scope_prefix": "lastheard/"}, {"read"}, set()),
    Case("nested roles", {"realm_access": {"roles": ["read"]}},
         {"scope_claim": "realm_access.roles"}, {"read"}, set()),
    Case("no way to the roles", {"realm_access": ["roles"]},
         {"scope_claim": "realm_access.roles"}, set(), set()),
    Case("a name with dots", {"https://a.example/scope": "read"},
         {"scope_claim": "https://a.example/scope"}, {"read"}, set()),
    Case("workspaces", {"workspaces": ["north", "south"]}, {}, set(), {"north", "south"}),
    Case("workspaces as text", {"workspaces": "north south"}, {}, set(), {"north", "south"}),
    Case("no workspace", {"workspaces": []}, {}, set(), set()),
    Case("null is none", {"workspaces": None}, {}, set(), set()),
    Case("the word for all", {"workspaces": ["north", "*"]}, {}, set(), None),
    Case("the word without the setting", {"workspaces": "*"}, {"all_workspaces": None},
         set(), set()),
    Case("words that are no ids", {"workspaces": ["no\0rth", "n\u00f6rth", "", "a/b", "south\n",
         "x" * 65, "north"]}, {}, set(), {"north"}),
    Case("other white space", {"scope": "read\u00a0admin control\tx ingest"}, {},
         {"ingest"}, set()),
    Case("the word without the prefix", {"scope": "* lastheard/*"}, IN_SCOPE, set(), set()),
    Case("scopes and workspaces in one claim",
         {"scope": "lastheard/read lastheard/workspace:north other/workspace:south"},
         {**IN_SCOPE, "scope_prefix": "lastheard/"}, {"read"}, {"north"}),
    Case("the word for all in that claim", {"scope": "lastheard/workspace:*"}, IN_SCOPE,
         set(), None),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_token_opens_what_its_claims_name_and_no_more(case: Case) -> None:
    rules = JwtRules(**{**{n: getattr(ALL, n) for n in ALL.__dataclass_fields__}, **case.rules})
    workspaces = None if case.workspaces is None else frozenset(case.workspaces)
    assert read_claims({**required(), **case.claims}, rules, START).access == Access(
        "jwt:gateway", frozenset(case.scopes), workspaces
    )


def required() -> dict[str, Any]:
    return {
        "iss": ALL.issuer,
        "aud": ["account", "lastheard"],
        "sub": "gateway",
        "exp": NOW + 60,
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    claim=st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "scope", "workspaces"]),
    value=anything,
)
def test_whatever_a_claim_is_it_is_read_or_refused(claim: str, value: Any) -> None:
    try:
        found = read_claims({**required(), claim: value}, ALL, START)
    except BadToken:
        return
    assert found.access.who.startswith("jwt:")
    named = value.split(" ") if isinstance(value, str) else value
    assert found.access.workspaces is not None or (claim == "workspaces" and "*" in named)


@pytest.mark.parametrize("audience", ["other lastheard", "lastheard ", " lastheard", ["x y"], []])
def test_an_audience_is_one_text_and_not_split(audience: Any) -> None:
    with pytest.raises(BadToken, match="audience"):
        read_claims({**required(), "aud": audience}, ALL, START)


@given(named=st.lists(st.text(max_size=70), max_size=5))
def test_every_workspace_of_a_token_can_be_looked_up(named: list[str]) -> None:
    found = read_claims({**required(), "workspaces": named}, ALL, START).access.workspaces
    assert found is None or all(is_id(workspace) for workspace in found)
