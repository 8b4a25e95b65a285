"""The documents against the code: settings, log records, reasons, commands, paths and links."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
from pydantic_core import PydanticUndefined

from domain.health_reason import HealthReason
from lastheard.settings import Settings
from tests.architecture.source import ROOT, project_files, shipped_modules
from tests.deployment.facts import PREFIX, command_problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic.fields import FieldInfo

    from tests.architecture.source import Module

DOCS = sorted(path for path in project_files() if path.suffix == ".md")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LIFECYCLE = "domain/lifecycle.py"
LOG_METHODS = frozenset(("debug", "info", "warning", "error", "critical", "log"))
FOLDERS = (
    "domain",
    "runtime",
    "storage",
    "providers",
    "legacy",
    "ports",
    "actors",
    "api",
    "simulator",
    "lastheard",
    "tests",
)


def part(document: str, name: str) -> str:
    """Return the text between `<!-- name: … -->` and `<!-- end of name -->`."""
    found = re.search(
        rf"<!-- {name}: [^\n]*-->\n(.*?)\n<!-- end of {name} -->", document, re.DOTALL
    )
    assert found is not None, f"the document has no part {name}"
    return found[1]


def rows(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table, without its two heading lines."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def settings_table() -> str:
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |")
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "see meaning"
    return "none" if field.default is None else f"`{field.default}`"


@cache
def logged_events() -> frozenset[str]:
    """Return the events of log calls, and both edges of every EdgeLog.

    A log call may name an event by a constant of domain/lifecycle.py.
    """
    events: set[str] = set()
    constants = _constants(LIFECYCLE)
    for module, call in _calls():
        called = _last_name(call)
        if called in LOG_METHODS:
            events |= _texts(call)
            events |= {constants.get(arg.id, "") for arg in call.args if isinstance(arg, ast.Name)}
        elif module.name_of(call.func).endswith("EdgeLog"):
            events |= {
                f"{subject}_{edge}" for subject in _texts(call) for edge in ("failed", "recovered")
            }
    return frozenset(events)


@cache
def logged_fields() -> frozenset[str]:
    """Return the fields that log records may have.

    They are keywords of log calls, of `bind` and of an EdgeLog's methods, and the keys in
    actors/records.py and domain/lifecycle.py.
    """
    methods = LOG_METHODS | {"bind", "failed", "recovered"}
    fields = {
        keyword.arg
        for _, call in _calls()
        if _last_name(call) in methods
        for keyword in call.keywords
        if keyword.arg
    }
    for module in shipped_modules():
        if str(module.path) in ("actors/records.py", LIFECYCLE):
            fields |= _texts(module.tree)
    return frozenset(fields)


def _constants(path: str) -> dict[str, str]:
    """Return the module's constants that are texts."""
    (module,) = [one for one in shipped_modules() if str(one.path) == path]
    return {
        node.target.id: node.value.value
        for node in module.tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _calls() -> Iterator[tuple[Module, ast.Call]]:
    for module in shipped_modules():
        yield from ((module, node) for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def _last_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _texts(tree: ast.AST) -> set[str]:
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def missing_records(table: str) -> list[str]:
    """Return the events and fields of a table that no log call of the service has."""
    events, fields = logged_events(), logged_fields()
    found = []
    for names, _when, cells in rows(table):
        found += [name for name in quoted(names) if name not in events]
        found += [f"{quoted(names)[0]}: {name}" for name in quoted(cells) if name not in fields]
    return found


def missing_paths(text: str) -> list[str]:
    """Return paths in backticks that begin with one of our folders and lead nowhere.

    `<type>` and `*` match anything.
    """
    found = []
    for name in quoted(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.fullmatch(
            rf"(?:{'|'.join(FOLDERS)}|docs|deploy|benchmarks|requirements)/[\w./<>*-]*", name
        ):
            pattern = re.sub(r"<\w+>", "*", name.rstrip("/"))
            if not any(ROOT.glob(pattern)):
                found.append(name)
    return found


def dead_links(text: str, folder: Path) -> list[str]:
    """Return relative links that lead nowhere."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    relative = [
        target.partition("#")[0]
        for target in targets
        if "://" not in target and not target.startswith("#")
    ]
    return [target for target in relative if not (folder / target).exists()]


def commands(text: str) -> list[list[str]]:
    """Return the lines of fenced blocks that run `lastheard`, through Compose too.

    Comments are removed.
    """
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL))
    lines = [line.partition("#")[0].split() for line in blocks.splitlines()]
    return [words[words.index("lastheard") :] for words in lines if "lastheard" in words]


def test_the_settings_table_is_what_the_settings_say() -> None:
    assert part(OPERATIONS, "settings") == settings_table()


def test_every_log_record_of_the_table_exists() -> None:
    assert missing_records(part(OPERATIONS, "records")) == []


def test_every_reason_says_where_to_look() -> None:
    assert {quoted(cells[0])[0] for cells in rows(part(OPERATIONS, "reasons"))} == set(HealthReason)


def test_every_command_of_the_documents_is_one() -> None:
    found = commands(OPERATIONS)
    assert len(found) >= 3
    assert [problem for words in found for problem in command_problems(words)] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_and_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert missing_paths(text) + dead_links(text, path.parent) == []


def test_every_decision_has_its_four_parts() -> None:
    wanted = ["Context", "Decision", "Alternatives", "Consequences"]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        assert re.findall(r"(?m)^## (.+)$", path.read_text(encoding="utf-8")) == wanted, path.name


def test_a_document_that_is_wrong_is_noticed() -> None:
    table = (
        "| event | when | fields |\n| --- | --- | --- |\n"
        "| `no_such_event` | never | `shard_id`, `no_such_field` |"
    )
    assert missing_records(table) == ["no_such_event", "no_such_event: no_such_field"]
    assert missing_paths(
        "see `storage/sql/nothing.sql`, `storage/sql/`, `providers/<type>/wire.py`"
    ) == ["storage/sql/nothing.sql"]
    assert dead_links("[a](nowhere.md#x) [b](https://example.org) [c](#here)", ROOT) == [
        "nowhere.md"
    ]
    assert commands("```\ndocker compose run --rm migrate lastheard serve --x  # y\n```") == [
        ["lastheard", "serve", "--x"]
    ]
