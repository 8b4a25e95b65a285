"""Examples of bodies and parameters, made from their schemas.

A member has the same example everywhere: bus-7 of the workspace north, at noon. A new body
has an example as soon as it is declared; a member whose value cannot be guessed needs a line in
`MEMBERS`. A test holds every example against its schema.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from api import device_csv, health, issues
from api.example_values import MEMBERS, MODELS, PROBLEMS, TEXTS
from api.spreadsheet import CSV_MEDIA_TYPE, write_csv
from api.tags import to_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PLACEHOLDER: Final = "text"
_NOON: Final = "2026-03-01T12:00:00Z"
_MAX_DEPTH: Final = 12
# The columns of the lists that are CSV too, by operation.
_CSV_COLUMNS: Final = {
    "list_devices": device_csv.COLUMNS,
    "report_health": health.COLUMNS,
    "list_issues": issues.COLUMNS,
    "list_worklist": issues.COLUMNS,
}


class Examples:
    """Makes examples from the named schemas of a document."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self._schemas = schemas

    def of(self, schema: Mapping[str, Any], name: str = "", owner: str = "", depth: int = 0) -> Any:
        """Return an example of the schema. `name` is the member's, `owner` its model's."""
        for key in (f"{owner}.{name}", name):
            if key in MEMBERS and MEMBERS[key] in schema.get("enum", (MEMBERS[key],)):
                return MEMBERS[key]
        if depth > _MAX_DEPTH:
            return {}
        if "$ref" in schema:
            model = component_of(schema)
            if model in MODELS:
                return MODELS[model]
            return self.of(self._schemas[model], owner=model, depth=depth + 1)
        return self._of_plain(schema, owner, depth)

    def _of_plain(self, schema: Mapping[str, Any], owner: str, depth: int) -> Any:
        for key in ("const", "default"):
            if schema.get(key) is not None:
                return schema[key]
        if "enum" in schema:
            return schema["enum"][0]
        if "anyOf" in schema:
            return self._of_union(schema, owner, depth)
        match schema.get("type"):
            case "object":
                return self._of_object(schema, owner, depth)
            case "array":
                return [self.of(schema.get("items", {}), owner=owner, depth=depth + 1)]
            case "string":
                return _NOON if schema.get("format") == "date-time" else PLACEHOLDER
            case "integer":
                return schema.get("minimum", 1)
            case "number":
                return schema.get("minimum", 1.0)
            case "boolean":
                return True
        return None

    def _of_union(self, schema: Mapping[str, Any], owner: str, depth: int) -> Any:
        if "default" in schema:
            return None
        kinds = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
        return self.of(kinds[0], owner=owner, depth=depth + 1)

    def _of_object(self, schema: Mapping[str, Any], owner: str, depth: int) -> Any:
        required = schema.get("required", ())
        found = {
            name: self.of(member, name, owner, depth + 1)
            for name, member in schema.get("properties", {}).items()
        }
        # An optional member without an example is left out, as a client would do.
        return {
            name: value for name, value in found.items() if name in required or value is not None
        }


def component_of(schema: Mapping[str, Any]) -> str:
    """Return the name of the schema that a reference leads to."""
    return str(schema["$ref"]).rpartition("/")[2]


def add_examples(document: dict[str, Any]) -> None:
    """Give every body and every path parameter of the document an example, in place."""
    examples = Examples(document["components"]["schemas"])
    for operation in operations_of(document):
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                parameter["example"] = MEMBERS.get(parameter["name"], PLACEHOLDER)
        name = operation["operationId"]
        for media, content in contents_of(operation):
            content["example"] = (
                _example_of_csv(columns)
                if media == CSV_MEDIA_TYPE and (columns := _CSV_COLUMNS.get(name))
                else _example_of_body(examples, media, content["schema"])
            )


def operations_of(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def contents_of(operation: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield media type and content of the request's body and of every answer."""
    bodies = (operation.get("requestBody", {}), *operation["responses"].values())
    yield from chain.from_iterable(body.get("content", {}).items() for body in bodies)


def _example_of_body(examples: Examples, media: str, schema: Mapping[str, Any]) -> Any:
    if "allOf" in schema:
        return _example_of_problem(schema)
    return TEXTS.get(media) or examples.of(schema)


def _example_of_csv(columns: Sequence[str]) -> str:
    row = {**MEMBERS, "old_signals": "", "tags": to_cell(MEMBERS["tags"])}
    return write_csv(columns, [[row.get(name, _NOON) for name in columns]])


def _example_of_problem(schema: Mapping[str, Any]) -> Any:
    members = schema["properties"]
    kind = members["type"]["enum"][0]
    return {
        "type": kind,
        "title": members["title"]["enum"][0],
        "status": members["status"]["const"],
        **PROBLEMS.get(kind.rpartition(":")[2], {}),
        "trace_id": MEMBERS["trace_id"],
    }
