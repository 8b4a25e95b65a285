"""The served API accepts each request of its own description, as the example shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from api.app import PREFIX, create_app
from api.bodies import encode_json
from api.device_import import MAX_IMPORT_BYTES
from api.examples import operations_of
from api.frame import FrameLimits
from providers.http import HttpPool
from providers.known import make_providers
from runtime.dialling import Dialler
from runtime.outbound import Allowance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.api.harness import Answer, Harness

# Each needs what those before it stored.
STORY = (
    "put_workspace",
    "put_policy",
    "put_provider",
    "put_device",
    "patch_workspace",
    "patch_policy",
    "preview_policy",
    "patch_device",
    "import_devices",
    "ingest",
    "ingest_envelope",
    "swap_device",
    "check_fleet",
    "try_provider",
    "run_cycle_now",
    "patch_provider",
    "create_key",
    "put_cutover",
    "patch_cutover",
    "roll_back_cutover",
    "synchronise_registry",
)


class Example(NamedTuple):
    """A request as the description shows it. `statuses` are those of its good answers."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    statuses: frozenset[int]


@pytest.fixture
def served(harness: Harness) -> Harness:
    """The API with the provider types that the product has."""
    providers = make_providers(HttpPool(Dialler(Allowance())))
    services = harness.make_services(providers=providers)
    harness.client = create_app(services).test_client()
    return harness


def examples_in(document: Mapping[str, Any]) -> Iterator[Example]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            filled, headers = path, {}
            for each in operation["parameters"]:
                if each["in"] == "path":
                    filled = filled.replace(f"{{{each['name']}}}", each["example"])
                elif each["in"] == "header" and each["required"]:
                    headers[each["name"]] = each["example"]
            good = frozenset(int(status) for status in operation["responses"] if status < "4")
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                example = content["example"]
                body = example.encode() if isinstance(example, str) else encode_json(example)
                typed = {**headers, "Content-Type": media}
                yield Example(operation["operationId"], method.upper(), filled, typed, body, good)


def names_of(headers: Mapping[str, Any]) -> set[str]:
    return {name.lower() for name in headers}


async def send(harness: Harness, one: Example) -> Answer:
    return await harness.ask(one.method, one.path, headers=one.headers, data=one.body)


async def follow_legacy_registry(harness: Harness) -> None:
    """Only a workspace whose devices are those of a legacy system can be synchronised."""
    flags = {"device_registry_source": "legacy_sync"}
    answer = await harness.ask(
        "PATCH", "/workspaces/north/cutover", json=flags, headers={"If-Match": "*"}
    )
    assert answer.status == 200


async def test_every_request_is_accepted_as_its_example_shows_it(served: Harness) -> None:
    document = await served.get("/openapi.json")
    examples = sorted(examples_in(document), key=lambda one: STORY.index(one.name))
    with_body = {each["operationId"] for each in operations_of(document) if "requestBody" in each}
    assert {one.name for one in examples} == set(STORY) == with_body
    for one in examples:
        if one.name == "synchronise_registry":
            await follow_legacy_registry(served)
        answer = await send(served, one)
        assert answer.status in one.statuses, (one, answer.body)
        results = answer.json.get("results", [])
        assert {result["outcome"] for result in results} <= {"accepted", "duplicate"}, one


async def test_a_run_is_followed_by_its_location(served: Harness) -> None:
    document = await served.get("/openapi.json")
    asked = document["paths"][f"{PREFIX}/workspaces/{{workspace_id}}/cycles"]["post"]
    assert set(asked["responses"]["202"]["headers"]) == {"Location"}
    answer = await served.ask("POST", "/workspaces/north/cycles", json={"when": "now"})
    cycle = await served.get(answer.headers["location"])
    assert (cycle["outcome"], cycle["ended_at"]) == ("requested", None)
    words = document["components"]["schemas"]["CycleAnswer"]["properties"]["outcome"]
    assert "`requested`" in words["description"]


async def test_headers_of_answers_are_described(served: Harness) -> None:
    """A client finds there what it must send back: the ETag, the next rows, the wait."""
    document = await served.get("/openapi.json")
    one = document["paths"][f"{PREFIX}/workspaces/{{workspace_id}}"]["put"]["responses"]
    stale = await served.ask(
        "PUT", "/workspaces/north", json={"name": "North"}, headers={"If-None-Match": "*"}
    )
    assert stale.status == 412
    assert names_of(one["412"]["headers"]) <= names_of(stale.headers)
    assert stale.json["detail"].startswith("It exists already")
    unknown = await served.ask("GET", "/workspaces", key=None)
    assert names_of(one["401"]["headers"]) == {"www-authenticate"} <= names_of(unknown.headers)
    listed = document["paths"][f"{PREFIX}/worklist"]["get"]["responses"]["200"]
    assert "Link" in listed["headers"]


async def test_an_example_of_a_refusal_says_where_and_how_long(served: Harness) -> None:
    document = await served.get("/openapi.json")
    answers = document["paths"][f"{PREFIX}/workspaces"]["get"]["responses"]
    problem = "application/problem+json"
    assert answers["400"]["content"][problem]["example"]["errors"][0]["parameter"] == "limit"
    assert answers["429"]["content"][problem]["example"]["retry_after"] == 1
    written = document["paths"][f"{PREFIX}/workspaces/{{workspace_id}}"]["put"]["responses"]
    assert written["422"]["content"][problem]["example"]["errors"][0]["pointer"] == "/name"


async def test_the_introduction_has_the_bounds_of_a_request(served: Harness) -> None:
    words = (await served.get("/openapi.json"))["info"]["description"]
    limits = FrameLimits()
    assert f"answered within {limits.request_deadline_seconds:g} s" in " ".join(words.split())
    sizes = (limits.max_body_bytes >> 20, MAX_IMPORT_BYTES >> 20)
    assert "at most {} MiB, an import {} MiB".format(*sizes) in " ".join(words.split())
