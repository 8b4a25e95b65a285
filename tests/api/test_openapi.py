"""A small resource, declared once, is served and described."""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from quart import Response, request
from quart_trio import QuartTrio

from api.bodies import Instant, RequestModel, json_response, read_json, read_query
from api.cursors import PageQuery
from api.docs_operations import write_curl
from api.docs_page import declare_documentation, render_docs
from api.openapi import Introduction, describe_operations
from api.operations import Operations
from api.problem_types import CONFLICT, MISSING_SCOPE
from api.problems import Problem, install_problem_handlers
from domain.ids import ID_PATTERN

if TYPE_CHECKING:
    from tests.api.harness import Harness

NOTES = Introduction("Notes", "1")


class Note(RequestModel):
    text: str
    follow_up_at: Instant | None = None


class NotePage(RequestModel):
    items: list[Note]
    next_cursor: str | None


class NoteQuery(PageQuery):
    written_by: tuple[str, ...] = ()


def declare_notes(operations: Operations) -> None:
    """Declare a resource. Its handlers are closures over what they need."""

    @operations.declare(
        "GET", "/notes/{device_id}", scope="read", query=NoteQuery, response=NotePage, tag="notes"
    )
    async def list_notes(device_id: str) -> Response:
        """The notes of a device.

        Newest first.
        """
        query = read_query(request, NoteQuery)
        return json_response(
            NotePage(items=[Note(text=f"{device_id} {query.limit}")], next_cursor=None)
        )

    @operations.declare(
        "POST",
        "/notes",
        scope="control",
        request=Note,
        response=Note,
        status=201,
        problems=(CONFLICT,),
        tag="notes",
    )
    async def write_note() -> Response:
        """Write a note."""
        return json_response(await read_json(request, Note), status=201)

    @operations.declare("GET", "/healthz", scope=None, prefixed=False)
    async def get_healthz() -> Response:
        """Whether the process lives, <b>now</b>."""
        return json_response({})


def make_operations() -> Operations:
    operations = Operations("/api")
    declare_notes(operations)
    declare_documentation(operations, NOTES)
    return operations


def make_app() -> QuartTrio:
    """Make an app whose authentication is a stand-in.

    Its decision comes from the operation that matched, and is no by default.
    """
    app, operations = QuartTrio(__name__, static_folder=None), make_operations()

    @app.before_request
    async def check_scope() -> None:
        operation = operations.named(request.endpoint)
        if request.url_rule is None or (operation is not None and operation.scope is None):
            return
        if operation is None or request.headers.get("Authorization") != f"Bearer {operation.scope}":
            raise Problem(MISSING_SCOPE)

    operations.install(app)
    install_problem_handlers(app)
    return app


def describe() -> dict[str, Any]:
    return describe_operations(make_operations(), NOTES)


async def test_a_declared_operation_is_served() -> None:
    response = (
        await make_app()
        .test_client()
        .get("/api/notes/bus-7?limit=3", headers={"Authorization": "Bearer read"})
    )
    assert await response.get_json() == {
        "items": [{"text": "bus-7 3", "follow_up_at": None}],
        "next_cursor": None,
    }


async def test_a_body_is_read_and_refused_as_declared() -> None:
    client, headers = make_app().test_client(), {"Authorization": "Bearer control"}
    assert (
        await client.post("/api/notes", json={"text": "call them"}, headers=headers)
    ).status_code == 201
    assert (
        await client.post("/api/notes", json={"txt": "call them"}, headers=headers)
    ).status_code == 422


async def test_the_scope_of_the_declaration_is_what_opens_an_operation() -> None:
    client = make_app().test_client()
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/api/notes/bus-7")).status_code == 403
    assert (await client.get("/nowhere")).status_code == 404


def test_an_operation_is_described_whole() -> None:
    listed = describe()["paths"]["/api/notes/{device_id}"]["get"]
    assert (listed["operationId"], listed["summary"], listed["description"]) == (
        "list_notes",
        "The notes of a device.",
        "Newest first.",
    )
    assert [(p["name"], p["in"], p["required"]) for p in listed["parameters"]] == [
        ("device_id", "path", True),
        ("cursor", "query", False),
        ("limit", "query", False),
        ("written_by", "query", False),
    ]
    assert listed["security"] == [{"bearer": []}]
    assert listed["responses"]["200"]["content"] == {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/NotePage"},
            "example": {"items": [{"text": "text"}], "next_cursor": None},
        }
    }


def test_a_parameter_excludes_the_words_of_paths_beside_it() -> None:
    operations = make_operations()

    @operations.declare("POST", "/notes/archive", scope="control")
    async def archive_notes() -> Response:
        """Archive all notes."""
        return json_response({})

    paths = describe_operations(operations, NOTES)["paths"]
    listed = paths["/api/notes/{device_id}"]["get"]
    (device_id, *_) = listed["parameters"]
    assert "405" in listed["responses"]
    assert device_id["schema"] == {
        "type": "string",
        "pattern": ID_PATTERN,
        "not": {"enum": ["archive"]},
    }


def test_refusals_are_described_from_what_an_operation_has() -> None:
    paths = describe()["paths"]
    assert set(paths["/api/notes"]["post"]["responses"]) == (
        {"201", "400", "401", "403", "408", "409", "413", "415", "422", "429", "500", "503"}
    )
    assert set(paths["/healthz"]["get"]["responses"]) == {"200", "429", "500", "503"}
    away = paths["/healthz"]["get"]["responses"]["503"]["description"]
    assert all(
        slug in away for slug in ("overloaded", "deadline-passed", "ending", "dependency-away")
    )
    headers = {
        status: paths["/healthz"]["get"]["responses"][status].get("headers")
        for status in ("429", "500", "503")
    }
    assert [
        headers["429"]["Retry-After"]["required"],
        headers["500"],
        "Retry-After" in headers["503"],
    ] == [
        True,
        None,
        True,
    ]
    conflict = paths["/api/notes"]["post"]["responses"]["409"]
    assert list(conflict["content"]) == ["application/problem+json"]
    assert "urn:lastheard:problem:conflict" in conflict["description"]


def test_every_reference_in_the_description_leads_somewhere() -> None:
    document = describe()
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert referred == set(document["components"]["schemas"])
    assert document["openapi"] == "3.1.0"


async def test_the_description_and_its_page_are_operations_too() -> None:
    client = make_app().test_client()
    described = await (await client.get("/openapi.json")).get_json()
    assert described["info"]["title"] == "Notes"
    page = await client.get("/docs")
    assert page.content_type == "text/html; charset=utf-8"
    text = await page.get_data(as_text=True)
    assert all(f"id='{name}'" in text for name in ("list_notes", "write_note", "schema-Note"))


async def test_the_page_may_run_and_load_nothing_but_its_own() -> None:
    page = await make_app().test_client().get("/docs")
    text = await page.get_data(as_text=True)
    parts = page.headers["Content-Security-Policy"].split("; ")
    policy = dict(part.split(" ", 1) for part in parts)
    own = {
        f"{kind}-src": f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
        for kind, content in re.findall(r"<(script|style)>(.*?)</", text, re.DOTALL)
    }
    assert policy == {
        "default-src": "'none'",
        **own,
        "connect-src": "'self'",
        "img-src": "data:",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)


def test_the_page_trusts_nothing() -> None:
    assert "&lt;b&gt;now&lt;/b&gt;" in render_docs(describe())


def test_a_curl_sends_the_example_of_its_operation() -> None:
    paths = describe()["paths"]
    listed = paths["/api/notes/{device_id}"]["get"]
    assert write_curl("get", "/api/notes/{device_id}", listed) == (
        'curl -X GET "$LASTHEARD/api/notes/bus-7" \\\n  -H "Authorization: Bearer $KEY"'
    )
    written = write_curl("post", "/api/notes", paths["/api/notes"]["post"])
    words = shlex.split(written.replace("\\\n", " "))
    assert words[-3] == "Content-Type: application/json"
    assert json.loads(words[-1]) == {"text": "text"}
    assert "Authorization" not in write_curl("get", "/healthz", paths["/healthz"]["get"])


def test_a_refusal_names_the_types_that_it_may_have() -> None:
    answers = describe()["paths"]["/api/notes"]["post"]["responses"]
    content = answers["400"]["content"]["application/problem+json"]
    types = [f"urn:lastheard:problem:{slug}" for slug in ("invalid-parameter", "malformed-json")]
    assert content["schema"]["properties"]["type"] == {"enum": types}
    assert content["example"]["type"] == types[0]


def test_two_operations_of_one_name_are_refused() -> None:
    operations = make_operations()
    with pytest.raises(ValueError, match="two operations are called"):
        declare_notes(operations)


def test_a_handler_without_a_docstring_is_refused() -> None:
    async def silent() -> Response:
        return json_response({})

    with pytest.raises(ValueError, match="no docstring"):
        Operations().declare("GET", "/", scope=None)(silent)


async def test_no_parameter_may_be_null(harness: Harness) -> None:
    """A URL has no null: a parameter is there, or left out."""
    paths = (await harness.get("/openapi.json"))["paths"]
    nullable = [
        (path, each["name"])
        for path, operations in paths.items()
        for operation in operations.values()
        for each in operation["parameters"]
        if {"type": "null"} in each["schema"].get("anyOf", ())
    ]
    assert nullable == []
