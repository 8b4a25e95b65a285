"""The API's description: `/openapi.json`, and `/docs` as one page for a browser.

Both are open and made once. The page loads nothing: its style and its script stand in it, and its
policy allows these two by their hashes, and requests to this service only. It must never trust the
description: all of it is escaped.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from quart import Response

from api.bodies import encode_json
from api.docs_operations import write_method, write_operation
from api.docs_schemas import link_to, write_paragraphs, write_schemas
from api.openapi import describe_operations
from api.preconditions import IF_NONE_MATCH, answer_unchanging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.openapi import Introduction
    from api.operations import Operations

_HEAD = (
    "<!doctype html><html lang=en><meta charset=utf-8>"
    "<meta name=viewport content='width=device-width, initial-scale=1'>"
    "<link rel=icon href='data:,'>"
)
_KEY = """
<section class=key><form><label for=key>Your key, for the forms below</label>
<input id=key type=password autocomplete=off spellcheck=false placeholder=lh_…></form>
<p>It stays in this page: it is not stored, and it is gone when you reload. The curl commands take
it from the shell:</p>
<pre>export LASTHEARD=<span data-address>https://lastheard.example</span>
read -rs KEY   # type or paste the key; it is not shown
export KEY</pre></section>
"""


def declare_documentation(operations: Operations, introduction: Introduction) -> None:
    """Add `/openapi.json` and `/docs` to the table. The first request makes them from all of it."""

    @cache
    def describe() -> dict[str, Any]:
        return describe_operations(operations, introduction)

    @cache
    def encode() -> bytes:
        return encode_json(describe())

    @cache
    def render() -> str:
        return render_docs(describe())

    @operations.declare(
        "GET",
        "/openapi.json",
        scope=None,
        tagged=True,
        conditions=(IF_NONE_MATCH,),
        tag="documentation",
        prefixed=False,
    )
    async def get_openapi() -> Response:
        """Show this API as an OpenAPI 3.1 document."""
        return await answer_unchanging(Response(encode(), content_type="application/json"))

    media = ("text/html",)

    @operations.declare(
        "GET",
        "/docs",
        scope=None,
        media_types=media,
        tagged=True,
        conditions=(IF_NONE_MATCH,),
        tag="documentation",
        prefixed=False,
    )
    async def get_docs() -> Response:
        """Show this API as a page for a browser."""
        page = Response(
            render(),
            content_type="text/html; charset=utf-8",
            headers={
                "Content-Security-Policy": page_policy(),
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            },
        )
        return await answer_unchanging(page)


@cache
def page_policy() -> str:
    """Return the Content-Security-Policy of the page."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash_of(_read('docs.css'))}'",
            f"script-src '{_hash_of(_read('docs.js'))}'",
            "connect-src 'self'",
            "img-src data:",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def render_docs(document: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI document."""
    info, schemas = document["info"], document["components"]["schemas"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    by_tag = _by_tag(document)
    return "".join(
        [
            f"{_HEAD}<title>{title}</title><style>{_read('docs.css')}</style><div class=page>",
            f"<nav aria-label=index>{_index(by_tag, schemas)}</nav><main><h1>{title}</h1>",
            f"<div class=rules>{_rules(info['description'])}</div>{_KEY}",
            "<p>The same as a document for programs: <a href='openapi.json'>openapi.json</a>.</p>",
            *(_section(tag, document, entries) for tag, entries in by_tag.items()),
            f"<section id=schemas><h2>Schemas</h2>{write_schemas(schemas)}</section>",
            f"</main></div><script>{_read('docs.js')}</script></html>",
        ]
    )


@cache
def _read(name: str) -> str:
    return files("api").joinpath("pages", "static", name).read_text(encoding="utf-8")


def _hash_of(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_Entry = tuple[str, str, "Mapping[str, Any]"]


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[_Entry]]:
    """Return method, path and operation by tag, in the order of the document's tags."""
    found: dict[str, list[_Entry]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            found.setdefault(tag, []).append((method, path, operation))
    return {tag: entries for tag, entries in found.items() if entries}


def _index(by_tag: Mapping[str, list[_Entry]], schemas: Mapping[str, Any]) -> str:
    lists = "".join(
        f"<h2><a href='#tag-{escape(tag)}'>{escape(tag)}</a></h2><ul>"
        + "".join(_index_line(*entry) for entry in entries)
        + "</ul>"
        for tag, entries in by_tag.items()
    )
    names = "".join(f"<li>{link_to(name)}" for name in schemas)
    return (
        f"{lists}<details><summary><a href='#schemas'>Schemas</a></summary>"
        f"<ul>{names}</ul></details>"
    )


def _index_line(method: str, path: str, operation: Mapping[str, Any]) -> str:
    summary = escape(operation["summary"].rstrip("."))
    title = escape(f"{method.upper()} {path}", quote=True)
    return (
        f"<li><a href='#{escape(operation['operationId'])}' title='{title}'>"
        f"{write_method(method)}{summary}</a>"
    )


def _rules(description: str) -> str:
    """Return the description as HTML: its headings, and paragraphs between them."""
    first, *sections = description.split("## ")
    parts = [write_paragraphs(first)]
    for section in sections:
        heading, _, text = section.partition("\n")
        parts.append(f"<h2>{escape(heading)}</h2>{write_paragraphs(text.strip())}")
    return "".join(parts)


def _section(tag: str, document: Mapping[str, Any], entries: list[_Entry]) -> str:
    words = {each["name"]: each["description"] for each in document["tags"]}.get(tag, "")
    articles = "".join(write_operation(*entry) for entry in entries)
    return (
        f"<section id='tag-{escape(tag)}'><h2>{escape(tag)}</h2>"
        f"{write_paragraphs(words)}{articles}</section>"
    )
