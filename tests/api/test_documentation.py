"""The description of the whole API is valid, complete and true of the answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app, declare_operations

if TYPE_CHECKING:
    from werkzeug.routing import Map

    from tests.api.harness import Harness


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(item) for item in value))
    return set()


async def test_every_route_of_the_app_is_described_and_nothing_else(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    rules: Map = create_app(harness.services).url_map
    served = {
        (re.sub(r"<(?:[^<>]+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in rules.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }


async def test_every_operation_says_what_it_does_takes_and_answers(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    for operation in declare_operations(harness.services):
        described = document["paths"][operation.path][operation.method.lower()]
        assert described["summary"].endswith(".")
        assert described["tags"]
        assert described["security"] == ([] if operation.scope is None else [{"bearer": []}])
        assert ("requestBody" in described) == (operation.request is not None)
        success = described["responses"][str(operation.status)]
        assert all(content["schema"] for content in success["content"].values())
        problems = {
            status for status, answer in described["responses"].items() if int(status) >= 400
        }
        assert {"500", "503"} | ({"401", "403"} if operation.scope else set()) <= problems


async def test_references_lead_somewhere_and_every_schema_parses(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert _references(document) == known
    for path, methods in document["paths"].items():
        for described in methods.values():
            named = {p["name"] for p in described["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


async def test_what_creates_says_201_and_what_takes_csv_says_so(harness: Harness) -> None:
    paths = (await harness.get("/openapi.json"))["paths"]
    device = paths["/api/telematics-mvp/workspaces/{workspace_id}/devices/{device_id}"]["put"]
    assert {"200", "201", "404", "409", "422"} <= set(device["responses"])
    imported = paths["/api/telematics-mvp/workspaces/{workspace_id}/devices/import"]["post"]
    assert set(imported["requestBody"]["content"]) == {"application/json", "text/csv"}
    worklist = paths["/api/telematics-mvp/worklist"]["get"]
    assert set(worklist["responses"]["200"]["content"]) == {"application/json", "text/csv"}


async def test_the_page_shows_every_path(harness: Harness) -> None:
    page = (await harness.ask("GET", "/docs")).body.decode()
    assert all(operation.path in page for operation in declare_operations(harness.services))


async def test_a_body_is_described_as_this_installation_takes_it(harness: Harness) -> None:
    schemas = (await harness.get("/openapi.json"))["components"]["schemas"]
    interval = schemas["WorkspaceBody"]["properties"]["poll_interval_seconds"]
    assert (interval["minimum"], interval["maximum"], interval["default"]) == (60, 3600, 300)
    types = schemas["ProviderBody"]["properties"]["provider_type"]["enum"]
    assert types == ["murmured", "push", "spoken"]


@pytest.mark.parametrize(
    ("member", "text", "fits"),
    [
        ("credential", "env:LASTHEARD_SECRET_NORTH", True),
        ("credential", "file:north/live 1", True),
        ("credential", "env:HOME", False),
        ("credential", "env:LASTHEARD_SECRET_A B", False),
        ("credential", "sk_live_swordfish", False),
        ("credential", "file: ", False),
        ("base_url", "https://provider.example:65535/a%20b", True),
        ("base_url", "http://[2001:4860:4860::8888]", True),
        ("base_url", "https://provider.example:65536", False),
        ("base_url", "https://user:pass@provider.example", False),
        ("base_url", "https://provider.example/?apiKey=swordfish", False),
        ("base_url", "https://provider.example/a b", False),
        ("base_url", "https://pr\u00f6vider.example", False),
        ("base_url", "ftp://provider.example", False),
    ],
)
async def test_a_text_that_its_pattern_forbids_is_refused(
    harness: Harness, member: str, text: str, fits: bool
) -> None:
    schemas = (await harness.get("/openapi.json"))["components"]["schemas"]
    described = schemas["ProviderBody"]["properties"][member]
    pattern = described.get("pattern") or described["anyOf"][0]["pattern"]
    body = {
        "provider_type": "spoken",
        "transport": "poll",
        "base_url": "https://provider.example",
        member: text,
    }
    answer = await harness.ask("PUT", "/workspaces/north/providers/second", json=body)
    assert (re.search(pattern, text) is not None, answer.status) == (fits, 201 if fits else 422)


async def test_what_has_an_etag_says_which_conditions_it_takes(harness: Harness) -> None:
    paths = (await harness.get("/openapi.json"))["paths"]
    policy = paths["/api/telematics-mvp/workspaces/{workspace_id}/policy"]
    patch, get = policy["patch"], policy["get"]
    (condition,) = [one for one in patch["parameters"] if one["in"] == "header"]
    assert (condition["name"], condition["required"]) == ("If-Match", True)
    assert {"412", "428"} <= set(patch["responses"])
    assert "304" in get["responses"]
    assert "ETag" in get["responses"]["200"]["headers"]
    described = {media: one["schema"] for media, one in patch["requestBody"]["content"].items()}
    schema = {"$ref": "#/components/schemas/PolicyPatch"}
    assert described == {"application/merge-patch+json": schema, "application/json": schema}
