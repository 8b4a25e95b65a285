"""A small resource, declared once, is served and described."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from quart import Response, request
from quart_trio import QuartTrio

from api.auth import ID_PATTERN
from api.bodies import Instant, RequestModel, json_response, read_json, read_query
from api.cursors import PageQuery
from api.docs_page import declare_documentation, render_docs
from api.openapi import describe_operations
from api.operations import Operations
from api.problem_types import CONFLICT, MISSING_SCOPE
from api.problems import Problem, install_problem_handlers


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
    declare_documentation(operations, title="Notes", version="1")
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
    return describe_operations(make_operations(), title="Notes", version="1")


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
        "application/json": {"schema": {"$ref": "#/components/schemas/NotePage"}}
    }


def test_a_parameter_excludes_the_words_of_paths_beside_it() -> None:
    operations = make_operations()

    @operations.declare("POST", "/notes/archive", scope="control")
    async def archive_notes() -> Response:
        """Archive all notes."""
        return json_response({})

    paths = describe_operations(operations, title="Notes", version="1")["paths"]
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
    client, headers = make_app().test_client(), {"Authorization": "Bearer read"}
    assert (await (await client.get("/openapi.json", headers=headers)).get_json())["info"][
        "title"
    ] == "Notes"
    page = await client.get("/docs", headers=headers)
    assert page.content_type == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_page_loads_nothing_and_trusts_nothing() -> None:
    page = render_docs(describe())
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "&lt;b&gt;now&lt;/b&gt;" in page


def test_two_operations_of_one_name_are_refused() -> None:
    operations = make_operations()
    with pytest.raises(ValueError, match="two operations are called"):
        declare_notes(operations)


def test_a_handler_without_a_docstring_is_refused() -> None:
    async def silent() -> Response:
        return json_response({})

    with pytest.raises(ValueError, match="no docstring"):
        Operations().declare("GET", "/", scope=None)(silent)
