"""The OpenAPI description as one plain HTML page: no script, nothing loaded from elsewhere.

The usual viewers fetch their code from a public network at every visit. This service often runs
without one, and its documentation needs a key, as its data does. It must never trust the
description: all of it is escaped.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from quart import Response

from api.bodies import json_response
from api.openapi import describe_operations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.operations import Operations

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
h3 { margin: 2rem 0 0; font-family: ui-monospace, monospace; font-size: 1rem; }
table { border-collapse: collapse; }
td, th { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; }
pre { background: #8881; padding: .7rem; overflow-x: auto; }
.scope { color: #777; font-weight: normal; }
:root { color-scheme: light dark; }
"""


def declare_documentation(
    operations: Operations, *, title: str, version: str, description: str = ""
) -> None:
    """Add `/openapi.json` and `/docs` to the table. Each request builds them from all of it."""

    def describe() -> dict[str, Any]:
        return describe_operations(
            operations, title=title, version=version, description=description
        )

    @operations.declare("GET", "/openapi.json", scope="read", tag="documentation", prefixed=False)
    async def get_openapi() -> Response:
        """Show this API as an OpenAPI 3.1 document."""
        return json_response(describe())

    media = ("text/html",)

    @operations.declare(
        "GET", "/docs", scope="read", tag="documentation", media_types=media, prefixed=False
    )
    async def get_docs() -> Response:
        """Show this page."""
        return Response(
            render_docs(describe()),
            content_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": _POLICY},
        )


def render_docs(document: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI document."""
    info = document["info"]
    title = escape(info["title"])
    return "".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8>",
            f"<title>{title}</title><style>{_STYLE}</style>",
            f"<h1>{title} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>",
            "<p>Every refusal is a problem document (RFC 9457). "
            "Its type tells refusals with the same status apart.</p>",
            *(_section(tag, entries) for tag, entries in sorted(_by_tag(document).items())),
            "<h2>Schemas</h2>",
            *(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
            "</html>",
        ]
    )


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            sections.setdefault(tag, []).append(_operation(method, path, operation))
    return sections


def _section(tag: str, entries: list[str]) -> str:
    return f"<h2>{escape(tag.capitalize())}</h2>{''.join(entries)}"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    scope = operation["x-scope"] or "none"
    rows = [
        _row(f"{p['name']} ({p['in']})", _schema_words(p["schema"]))
        for p in operation["parameters"]
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(_row(f"body, {media}", _schema_words(content["schema"])))
    for status, answer in operation["responses"].items():
        words = [_schema_words(content["schema"]) for content in answer.get("content", {}).values()]
        rows.append(_row(status, f"{answer['description']}: {', '.join(words)}"))
    shown_scope = f"<span class=scope>scope {escape(scope)}</span>"
    return (
        f"<h3>{escape(method.upper())} {escape(path)} {shown_scope}</h3>"
        f"<p>{escape(operation['summary'])} {escape(operation['description'])}</p>"
        f"<table>{''.join(rows)}</table>"
    )


def _row(left: str, right: str) -> str:
    return f"<tr><th>{escape(left)}<td>{escape(right)}"


def _schema_words(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    shown = {name: value for name, value in schema.items() if name != "title"}
    return ", ".join(f"{name}: {json.dumps(value)}" for name, value in shown.items())


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2))
    return f"<h3 id='{escape(name)}'>{escape(name)}</h3><pre>{text}</pre>"
