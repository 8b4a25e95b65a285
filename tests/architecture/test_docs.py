"""The documents against the code: settings, reasons, commands, paths and links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pydantic_core import PydanticUndefined

from domain.health_reason import HealthReason
from lastheard.settings import Settings
from tests.architecture.source import ROOT, project_files
from tests.deployment.facts import PREFIX, command_problems

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic.fields import FieldInfo


DOCS = sorted(path for path in project_files() if path.suffix == ".md")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
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
    assert missing_paths(
        "see `storage/sql/nothing.sql`, `storage/sql/`, `providers/<type>/wire.py`"
    ) == ["storage/sql/nothing.sql"]
    assert dead_links("[a](nowhere.md#x) [b](https://example.org) [c](#here)", ROOT) == [
        "nowhere.md"
    ]
    assert commands("```\ndocker compose run --rm migrate lastheard serve --x  # y\n```") == [
        ["lastheard", "serve", "--x"]
    ]
