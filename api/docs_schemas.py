"""Schemas of the API's description as HTML: every reference is a link, every limit is said."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from api.examples import component_of
from api.vocabulary import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LIMITS: Final = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
    "default": "default {}",
}
_CODE = re.compile(r"`([^`]+)`")


def write_schemas(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an article for each named schema."""
    return "".join(_write_schema(name, schema) for name, schema in schemas.items())


def schema_id(name: str) -> str:
    return f"schema-{name}"


def link_to(name: str) -> str:
    return f"<a href='#{escape(schema_id(name))}'>{escape(name)}</a>"


def write_text(text: str) -> str:
    """Return a text as HTML: `code` as code, and everything else as it stands."""
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def write_paragraphs(text: str) -> str:
    """Return the paragraphs of a text; one whose lines begin with "- " is a list."""
    return "".join(_write_paragraph(each) for each in text.split("\n\n") if each)


def _write_paragraph(text: str) -> str:
    if not text.startswith("- "):
        return f"<p>{write_text(text)}</p>"
    lines = text.removeprefix("- ").split("\n- ")
    return f"<ul>{''.join(f'<li>{write_text(line)}' for line in lines)}</ul>"


def write_table(rows: Iterable[str]) -> str:
    body = "".join(rows)
    return f"<div class=table><table>{body}</table></div>" if body else ""


def write_type(schema: Mapping[str, Any]) -> str:
    """Return the type of a schema in words, with links to named ones."""
    if "$ref" in schema:
        return link_to(component_of(schema))
    if "allOf" in schema:
        return " and ".join(write_type(part) for part in schema["allOf"])
    if "anyOf" in schema:
        return " or ".join(write_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {write_type(schema.get('items', {}))}"
    of_values = schema.get("additionalProperties")
    if isinstance(of_values, dict):
        return f"object with values of {write_type(of_values)}"
    form = f" ({escape(schema['format'])})" if "format" in schema else ""
    return escape(str(schema.get("type", "any"))) + form


def write_limits(schema: Mapping[str, Any]) -> str:
    """Return the limits of a schema in words, and those of its alternatives and items."""
    found = [
        words.format(f"<code>{escape(json.dumps(schema[key]))}</code>")
        for key, words in _LIMITS.items()
        if schema.get(key) not in (None, [], {}, "")
    ]
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    found += [words for part in inner if (words := write_limits(part))]
    return ", ".join(found)


def _write_schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        _write_member(member, of, is_required=member in required)
        for member, of in schema.get("properties", {}).items()
    )
    is_explained = "properties" in schema or name in MEANINGS
    return (
        f"<article id='{escape(schema_id(name))}'><h3>{escape(name)}</h3>"
        f"{write_paragraphs(schema.get('description', ''))}"
        f"{'' if is_explained else f'<p>{write_type(schema)}</p>'}{write_table(rows)}</article>"
    )


def _write_member(name: str, schema: Mapping[str, Any], *, is_required: bool) -> str:
    words = [write_text(schema.get("description", "")), write_limits(schema)]
    return (
        f"<tr><th><code>{escape(name)}</code>{'' if is_required else ' <small>optional</small>'}"
        f"<td>{write_type(schema)}<td>{'; '.join(filter(None, words))}"
    )
