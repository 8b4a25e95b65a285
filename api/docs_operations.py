"""Operations of the API's description as HTML: parameters, bodies, answers, a curl, a form."""

from __future__ import annotations

import json
import shlex
from html import escape
from typing import TYPE_CHECKING, Any

from api.docs_schemas import write_limits, write_paragraphs, write_table, write_text, write_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FIRST_REFUSAL = 400


def write_operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """Return the article about one operation. Its id is the operationId."""
    scope = operation["x-scope"]
    words = f"scope {scope}" if scope else "open: no key"
    return (
        f"<article id='{escape(operation['operationId'])}'>"
        f"<h3>{write_method(method)} {escape(path)}<span class=scope>{escape(words)}</span></h3>"
        f"<p><b>{write_text(operation['summary'])}</b></p>"
        f"{write_paragraphs(operation['description'])}"
        f"{_write_parameters(operation)}{_write_request(operation)}"
        f"<h4>curl</h4><pre>{escape(write_curl(method, path, operation))}</pre>"
        f"{_write_answers(operation)}{_write_form(method, path, operation)}</article>"
    )


def write_method(method: str) -> str:
    name = escape(method.upper())
    return f"<span class='method {name}'>{name}</span>"


def write_curl(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """Return a command for a POSIX shell that sends the operation's example."""
    examples = {each["name"]: each.get("example") for each in operation["parameters"]}
    for name, example in examples.items():
        path = path.replace(f"{{{name}}}", str(example))
    lines = [f'curl -X {method.upper()} "$LASTHEARD{path}"']
    if operation["x-scope"]:
        lines.append('-H "Authorization: Bearer $KEY"')
    headers = [
        f"{each['name']}: {each['example']}"
        for each in operation["parameters"]
        if each["in"] == "header" and each["required"]
    ]
    body = next(_bodies(operation), None)
    if body is not None:
        headers.append(f"Content-Type: {body[0]}")
    lines += [f"-H {shlex.quote(header)}" for header in headers]
    if body is not None:
        lines.append(f"--data-binary {shlex.quote(body[1])}")
    return " \\\n  ".join(lines)


def _bodies(operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each media type of the request, with its example as text."""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield media, _as_text(content["example"])


def _as_text(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=2)


def _write_parameters(operation: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><th><code>{escape(each['name'])}</code> <small>{escape(each['in'])}"
        f"{'' if each['required'] else ', optional'}</small><td>{write_type(each['schema'])}"
        f"<td>{'; '.join(filter(None, [_describe(each), write_limits(each['schema'])]))}"
        for each in operation["parameters"]
    ]
    return f"<h4>Parameters</h4>{write_table(rows)}" if rows else ""


def _describe(parameter: Mapping[str, Any]) -> str:
    return write_text(parameter.get("description") or parameter["schema"].get("description") or "")


def _write_request(operation: Mapping[str, Any]) -> str:
    body = operation.get("requestBody")
    if body is None:
        return ""
    needed = "" if body["required"] else ", optional"
    return "".join(
        f"<h4>Body, {escape(media)}{needed}</h4><p>{write_type(content['schema'])}</p>"
        f"<pre>{escape(_as_text(content['example']))}</pre>"
        for media, content in body["content"].items()
    )


def _write_answers(operation: Mapping[str, Any]) -> str:
    answers = operation["responses"]
    good = {status: answers[status] for status in answers if int(status) < _FIRST_REFUSAL}
    refusals = {status: answers[status] for status in answers if status not in good}
    shown = "".join(
        f"<details><summary>Example of {escape(status)}, {escape(media)}</summary>"
        f"<pre>{escape(_as_text(content['example']))}</pre></details>"
        for status, answer in good.items()
        for media, content in answer.get("content", {}).items()
    )
    return (
        f"<h4>Answers</h4>{write_table(map(_write_answer, good, good.values()))}{shown}"
        f"<details><summary>Refusals: {escape(', '.join(refusals))}</summary>"
        f"{write_table(map(_write_refusal, refusals, refusals.values()))}</details>"
    )


def _write_answer(status: str, answer: Mapping[str, Any]) -> str:
    kinds = "<br>".join(
        f"{write_type(content['schema'])} <small>{escape(media)}</small>"
        for media, content in answer.get("content", {}).items()
    )
    return f"{_write_status(status, answer)}<td>{write_text(answer['description'])}<td>{kinds}"


def _write_refusal(status: str, answer: Mapping[str, Any]) -> str:
    """Return the row of a refusal. Each is a problem document, of one of these types."""
    kinds = "<br>".join(write_text(kind) for kind in answer["description"].split(" · "))
    return f"{_write_status(status, answer)}<td>{kinds}"


def _write_status(status: str, answer: Mapping[str, Any]) -> str:
    headers = "".join(f" <small>{escape(name)}</small>" for name in answer.get("headers", {}))
    return f"<tr><th>{escape(status)}{headers}"


def _write_form(method: str, path: str, operation: Mapping[str, Any]) -> str:
    fields = "".join(_write_field(each) for each in operation["parameters"])
    body = next(_bodies(operation), None)
    if body is not None:
        media = escape(body[0])
        fields += (
            f"<label>body, {media}<textarea data-media='{media}'>"
            f"\n{escape(body[1])}</textarea></label>"
        )
    return (
        "<details><summary>Try it</summary>"
        f"<form data-method='{escape(method.upper())}' data-path='{escape(path)}'>{fields}"
        "<button>Send</button><pre><output></output></pre></form></details>"
    )


def _write_field(parameter: Mapping[str, Any]) -> str:
    name, place = escape(parameter["name"]), escape(parameter["in"])
    is_needed = parameter["required"]
    value = escape(str(parameter.get("example", ""))) if is_needed else ""
    many = " data-many=1" if parameter["schema"].get("type") == "array" else ""
    return (
        f"<label>{name}{' (several: divided by commas)' if many else ''}"
        f"<input name='{name}' data-in='{place}' value='{value}'{many}"
        f"{' required' if is_needed else ''}></label>"
    )
