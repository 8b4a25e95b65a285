"""The declared operations as an OpenAPI 3.1 document.

Pydantic writes the schemas; api.examples and api.vocabulary explain them; this file only arranges
all of it. It must never add facts that no declaration has.
"""

from __future__ import annotations

import inspect
from http import HTTPStatus
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic.json_schema import models_json_schema

from api.examples import add_examples
from api.operations import PATH_PARAMETER
from api.problems import PROBLEM_MEDIA_TYPE, ProblemDocument
from api.vocabulary import add_meanings
from domain.ids import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from api.operations import Operation, Operations
    from api.problem_types import ProblemType


_TEXT: dict[str, Any] = {"type": "string"}
_WAIT: dict[str, Any] = {"type": "integer", "minimum": 1}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of this service (`lh_…`). Or, where an issuer is configured, a JWT: an "
    "access token that the issuer gave for client credentials (OAuth2).",
}
_ETAG = {
    "description": "the revision of the resource, for If-Match and If-None-Match",
    "required": True,
    "schema": {"type": "string"},
}
_CONDITIONS = {
    "If-Match": "the ETag of the last read as it came, with its quotes, or * for any: when the "
    "resource has another one now, 412, and nothing is stored",
    "If-None-Match": "* for a write that only creates: when the resource exists, 412, and nothing "
    "is stored",
}
_KNOWN = "the ETag of the last read as it came: 304 without a body when it is still the present one"
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "lh_<id>_<secret>",
    "description": "A key. `x-scope` of each operation names the scope that it must have.",
}
# The headers of refusals, by status, with their meanings.
_REFUSAL_HEADERS = {
    401: ("WWW-Authenticate", "the scheme, which is Bearer (RFC 6750)", True),
    412: ("ETag", "the present revision; absent when the resource does not exist", False),
    429: ("Retry-After", "seconds to wait before the same request", True),
    503: (
        "Retry-After",
        "seconds to wait before the same request; absent when it would not help",
        False,
    ),
}


class Introduction(NamedTuple):
    """What the document says before its operations. `description` is CommonMark.

    `tags` are in the order in which they are shown.
    """

    title: str
    version: str
    description: str = ""
    tags: Mapping[str, str] = MappingProxyType({})


def describe_operations(operations: Operations, introduction: Introduction) -> dict[str, Any]:
    """Return the document, as plain values."""
    schemas, refs = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _describe(operation, refs)
        described["responses"] |= _refusals(operations.problems_of(operation), refs)
        described["parameters"] = [
            *_path_parameters(operation, operations),
            *_query_parameters(operation, schemas, refs),
            *_condition_parameters(operation),
        ]
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    for query in {operation.query for operation in operations if operation.query}:
        del schemas[_component(refs[query, "validation"])]  # listed as parameters instead
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": introduction.title,
            "version": introduction.version,
            "description": introduction.description,
        },
        # Relative to the document, so it holds behind a proxy that serves us under another path.
        "servers": [{"url": "./"}],
        "tags": [{"name": name, "description": words} for name, words in introduction.tags.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": _BEARER},
        },
    }
    add_meanings(schemas)
    add_examples(document)
    return document


def _schemas(operations: Operations) -> tuple[dict[str, Any], Mapping[Any, Any]]:
    wanted: dict[tuple[type[BaseModel], Any], None] = {(ProblemDocument, "serialization"): None}
    for operation in operations:
        for model in (operation.query, operation.request):
            if model is not None:
                wanted[model, "validation"] = None
        if operation.response is not None:
            wanted[operation.response, "serialization"] = None
    refs, definitions = models_json_schema(
        list(wanted), ref_template="#/components/schemas/{model}"
    )
    return definitions["$defs"], refs


def _describe(operation: Operation, refs: Mapping[Any, Any]) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(operation.handler.__doc__ or "").partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": summary,
        "description": rest.strip(),
        "responses": _successes(operation, refs),
        "security": [] if operation.scope is None else [{"bearer": []}],
        "x-scope": operation.scope,
    }
    if operation.tag:
        described["tags"] = [operation.tag]
    if operation.request is not None:
        content = _content(operation.request_media_types, refs[operation.request, "validation"])
        described["requestBody"] = {"required": operation.request_required, "content": content}
    return described


def _path_parameters(operation: Operation, operations: Operations) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _id_schema(operations.taken_words(operation.path, name)),
        }
        for name in PATH_PARAMETER.findall(operation.path)
    ]


def _id_schema(taken: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "string",
        "pattern": ID_PATTERN,
        **({"not": {"enum": list(taken)}} if taken else {}),
    }


def _query_parameters(
    operation: Operation, schemas: Mapping[str, Any], refs: Mapping[Any, Any]
) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = schemas[_component(refs[operation.query, "validation"])]
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(of)}
        for name, of in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out. A URL has no null."""
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    rest = {name: of for name, of in schema.items() if name not in ("anyOf", "default")}
    return {**kinds[0], **rest}


def _condition_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": operation.condition_required and place == 0,
            "description": _KNOWN if operation.method == "GET" else _CONDITIONS[name],
            "schema": {"type": "string"},  # by RFC 9110 text that is no tag matches nothing
            "example": _example_of_condition(operation, name),
        }
        for place, name in enumerate(operation.conditions)
    ]


def _example_of_condition(operation: Operation, name: str) -> str:
    creates = name == "If-None-Match" and operation.method != "GET"
    return "*" if creates or operation.condition_required else '"3"'


def _successes(operation: Operation, refs: Mapping[Any, Any]) -> dict[str, Any]:
    schema = None if operation.response is None else refs[operation.response, "serialization"]
    content = _content(operation.media_types, schema)
    statuses = (operation.status, 201) if operation.creates else (operation.status,)
    tagged = {"headers": {"ETag": _ETAG}} if operation.tagged else {}
    own = {
        name: {"description": words, "schema": _TEXT} for name, words in operation.headers.items()
    }
    found = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            **({"content": content} if content else {}),
            **tagged,
            **({"headers": own} if own else {}),
        }
        for status in statuses
    }
    if operation.conditions and operation.method == "GET":
        found["304"] = {"description": "The client has this revision already", **tagged}
    return found


def _content(media_types: Sequence[str], first: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the content of each media type: JSON with the schema `first`, others as text."""
    return {
        media: {"schema": (first or {"type": "object"}) if media.endswith("json") else _TEXT}
        for media in media_types
    }


def _refusals(problems: Sequence[ProblemType], refs: Mapping[Any, Any]) -> dict[str, Any]:
    refusals: dict[str, Any] = {}
    for status, group in groupby(problems, key=lambda kind: kind.status):
        kinds = list(group)
        schema = {
            "allOf": [refs[ProblemDocument, "serialization"]],
            "properties": {
                "type": {"enum": [kind.uri for kind in kinds]},
                "title": {"enum": [kind.title for kind in kinds]},
                "status": {"const": status},
            },
        }
        refusals[str(status)] = {
            "description": " · ".join(f"{kind.title} (`{kind.uri}`)" for kind in kinds),
            "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
        }
        if status in _REFUSAL_HEADERS:
            name, words, required = _REFUSAL_HEADERS[status]
            of = _WAIT if name == "Retry-After" else _TEXT
            header = {"description": words, "required": required, "schema": of}
            refusals[str(status)]["headers"] = {name: header}
    return refusals


def _component(ref: Mapping[str, str]) -> str:
    return ref["$ref"].rpartition("/")[2]
