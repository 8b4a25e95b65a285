"""The queries of deploy/: those of the alerts and those of the dashboards' panels.

Owns reading them, and finding the names of metrics in a query. PromQL is not parsed: texts,
matchers, ranges and the labels of a grouping are cut out. A word that is left is a name, unless it
is called.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import yaml

from tests.architecture.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
RULES: Final = PROMETHEUS / "lastheard.rules.yml"
RULE_TESTS: Final = PROMETHEUS / "lastheard.rules.test.yml"
DASHBOARDS: Final = tuple(sorted((ROOT / "deploy" / "grafana").glob("*.json")))
VARIABLES: Final[Mapping[str, str]] = {"$__rate_interval": "1m", "$instance": ".*"}

_CUT: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"'  # a text
    r"|\{[^{}]*\}"  # matchers, whose texts are gone by then
    r"|\[[^\[\]]*\]"  # a range
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)"
)
_WORD: Final = re.compile(r"(?<![\w:.])[A-Za-z_:][\w:]*(?!\s*\()(?![\w:])")
_KEYWORDS: Final = frozenset(
    ("and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset", "inf", "nan")
)


class Alert(NamedTuple):
    """One alert. `expression` is PromQL."""

    name: str
    expression: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Panel(NamedTuple):
    """One panel with its queries; the dashboard's variables are in place."""

    dashboard: str
    title: str
    expressions: tuple[str, ...]


def load_alerts() -> list[Alert]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    return [
        Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"]) for rule in rules
    ]


def load_dashboard(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


def load_panels() -> list[Panel]:
    return [
        Panel(path.stem, panel["title"], tuple(_fill(one["expr"]) for one in panel["targets"]))
        for path in DASHBOARDS
        for panel in load_dashboard(path)["panels"]
    ]


def names_in(expression: str) -> set[str]:
    """Return the names of metrics in a query."""
    cut = expression
    while cut != (cut := _CUT.sub(" ", cut)):
        pass
    return {name for name in _WORD.findall(cut) if name.lower() not in _KEYWORDS}


def _fill(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"a variable that no test knows: {expression}"
    return expression
