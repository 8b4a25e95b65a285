"""Every body of the API's description has an example that its schema takes, and tells something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from api.bodies import encode_json
from api.evidence import CycleSummary, Evidence
from api.examples import PLACEHOLDER, Examples, contents_of, operations_of
from api.vocabulary import MEANINGS
from tests.api.harness import BUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.api.harness import Harness


def _faults(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> list[str]:
    whole = {**schema, "components": document["components"]}
    checked = Draft202012Validator(whole, format_checker=FormatChecker())
    return [f"{fault.json_path}: {fault.message}" for fault in checked.iter_errors(value)]


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for name, member in value.items():
                yield from _texts(member, f"{path}/{name}")
        case list():
            for member in value:
                yield from _texts(member, path)
        case str():
            yield path, value


async def test_every_body_has_an_example_that_fits(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    faults = {
        (operation["operationId"], media): found
        for operation in operations_of(document)
        for media, content in contents_of(operation)
        if (found := _faults(document, content["schema"], content["example"]))
    }
    assert faults == {}


async def test_every_text_of_an_example_says_something(harness: Harness) -> None:
    """To mend it, give the member a value in api/example_values.py."""
    document = await harness.get("/openapi.json")
    unsaid = {
        path
        for operation in operations_of(document)
        for _, content in contents_of(operation)
        for path, text in _texts(content["example"], operation["operationId"])
        if text == PLACEHOLDER
    }
    unsaid |= {
        each["name"]
        for operation in operations_of(document)
        for each in operation["parameters"]
        if each["required"] and each.get("example", PLACEHOLDER) == PLACEHOLDER
    }
    assert unsaid == set()


async def test_the_example_of_a_csv_has_the_columns_of_its_list(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    shown = {
        operation["operationId"]: content["example"].splitlines()[0]
        for operation in operations_of(document)
        for media, content in operation["responses"].get("200", {}).get("content", {}).items()
        if media == "text/csv"
    }
    paths = {
        "list_devices": "/workspaces/north/devices",
        "report_health": "/workspaces/north/health",
        "list_issues": "/workspaces/north/issues",
        "list_worklist": "/worklist",
    }
    assert set(shown) == set(paths)
    for name, path in paths.items():
        answer = await harness.ask("GET", f"{path}?format=csv")
        assert answer.body.decode().splitlines()[0] == shown[name]


async def test_every_word_of_these_sets_has_a_meaning(harness: Harness) -> None:
    schemas = (await harness.get("/openapi.json"))["components"]["schemas"]
    sets = {name: schema["enum"] for name, schema in schemas.items() if "enum" in schema}
    unexplained = {
        name: words
        for name, words in sets.items()
        if name in MEANINGS and set(words) != set(MEANINGS[name])
    }
    assert unexplained == {}
    assert set(MEANINGS) <= set(sets)
    meaning = "- `stale`: the last update is older than `stale_after_seconds`"
    assert meaning in schemas["State"]["description"]
    assert meaning in schemas["IssueState"]["description"]


async def test_no_answer_of_health_or_cycles_is_a_bare_object(harness: Harness) -> None:
    schemas = (await harness.get("/openapi.json"))["components"]["schemas"]
    shown = {
        "evidence": schemas["ReportedDevice"]["properties"]["evidence"],
        "of outage": schemas["WorkspaceOutage"]["properties"]["evidence"],
        "summary": schemas["CycleAnswer"]["properties"]["summary"],
        "trigger": schemas["CycleAnswer"]["properties"]["trigger"],
    }
    assert {name: schema["$ref"].rpartition("/")[2] for name, schema in shown.items()} == {
        "evidence": "Evidence",
        "of outage": "Evidence",
        "summary": "CycleSummary",
        "trigger": "CycleTrigger",
    }
    outcome = schemas["CycleAnswer"]["properties"]["outcome"]["anyOf"]
    assert outcome[1]["enum"] == ["requested", "scheduled"]


# What a provider type or its vendor defines, documents of many kinds, JSON schemas, and the
# description itself.
ANY_MEMBERS = {
    "AuditAnswer.after",
    "AuditAnswer.before",
    "CheckedConnection.settings",
    "LegacyAnswer.shape",  # docs/cutover.md
    "LegacyBody.shape",
    "LegacyPatch.shape",
    "ProviderAnswer.settings",
    "ProviderBody.settings",
    "ProviderEnvelope.rawMessage",
    "ProviderPatch.settings",
    "ProviderTypeAnswer.settings",
    "StoredProvider.settings",
    "get_openapi application/json",
}


async def test_no_schema_is_a_bare_object(harness: Harness) -> None:
    """To mend it, give the member a model, or `dict` with the type of its values."""
    document = await harness.get("/openapi.json")
    found = {
        path
        for name, schema in document["components"]["schemas"].items()
        for path in _bare_objects(schema, name)
    }
    for operation in operations_of(document):
        for media, content in contents_of(operation):
            found |= set(_bare_objects(content["schema"], f"{operation['operationId']} {media}"))
    assert found == ANY_MEMBERS


def _bare_objects(schema: Any, path: str) -> Iterator[str]:
    """Yield the places where an object has neither named members nor a type for its values."""
    if not isinstance(schema, dict):
        return
    is_open = schema.get("additionalProperties", True) is True
    if schema.get("type") == "object" and not schema.get("properties") and is_open:
        yield path
    for name, member in schema.get("properties", {}).items():
        yield from _bare_objects(member, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        yield from _bare_objects(schema.get(key), path)
    for key in ("anyOf", "allOf", "prefixItems"):
        for part in schema.get(key, ()):
            yield from _bare_objects(part, path)


async def test_evidence_has_the_members_that_are_described(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    described = set(Evidence.model_json_schema()["properties"])
    await harness.run_cycle()
    await harness.report(BUSES[0], soc_percent=50)
    for seconds in (0, 1200, 86_400):
        harness.let_pass(seconds)
        report = await harness.get("/workspaces/north/health")
        reference = {"$ref": "#/components/schemas/HealthReport"}
        assert _faults(document, reference, report) == []
        assert {frozenset(item["evidence"]) for item in report["items"]} == {frozenset(described)}


async def test_cycles_are_as_described(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    await harness.run_cycle()
    cycles = await harness.get("/workspaces/north/cycles")
    assert cycles["items"]
    assert _faults(document, {"$ref": "#/components/schemas/CycleList"}, cycles) == []
    assert encode_json(CycleSummary())


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "integer", "minimum": 60}, 60),
        ({"type": "boolean"}, True),
        ({"enum": ["call", "stream"]}, "call"),
        ({"default": 100, "type": "integer"}, 100),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None}, None),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"type": "string", "format": "date-time"}, "2026-03-01T12:00:00Z"),
        ({"$ref": "#/components/schemas/Loop"}, {"inner": {}}),
    ],
)
def test_an_example_follows_from_a_schema(schema: Mapping[str, Any], example: Any) -> None:
    loop = {"type": "object", "properties": {"inner": {"type": "object"}}, "required": ["inner"]}
    assert Examples({"Loop": loop}).of(schema) == example


def test_a_schema_that_holds_itself_has_an_end() -> None:
    own = {"$ref": "#/components/schemas/Own"}
    schemas = {"Own": {"type": "object", "properties": {"own": own}, "required": ["own"]}}
    assert "own" in Examples(schemas).of(own)
