"""The alerts and dashboards against what a shard exports, and against Prometheus's own checks."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.architecture.source import ROOT
from tests.debian import INSTALL_SECONDS, find_program
from tests.metrics.exported import exported_names
from tests.metrics.queries import (
    DASHBOARDS,
    RULE_TESTS,
    RULES,
    load_alerts,
    load_dashboard,
    load_panels,
    names_in,
)

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOK = ROOT / "docs" / "runbook.md"
OF_PROMETHEUS = {"up"}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('up{job="a"} == 0 or absent(up{job="a"})', {"up"}),
        ("sum by (le, up) (rate(a_bucket[5m])) / on (b) group_left (c) d", {"a_bucket", "d"}),
        ('x{text="rate(y) {z}"} > 0.5e3 unless -Inf', {"x"}),
        ("histogram_quantile(0.9, sum(rate(h_bucket[1m:5s])) by (le)) offset 5m", {"h_bucket"}),
        ("a:b:c + topk(10, d) or vector(0)", {"a:b:c", "d"}),
    ],
)
def test_names_are_found_in_a_query(expression: str, names: set[str]) -> None:
    assert names_in(expression) - {"m"} == names


async def test_every_query_names_an_exported_metric() -> None:
    exported = await exported_names() | OF_PROMETHEUS
    queries = {alert.name: alert.expression for alert in load_alerts()}
    queries |= {
        f"{panel.dashboard}: {panel.title} {number}": expression
        for panel in load_panels()
        for number, expression in enumerate(panel.expressions)
    }
    assert len(queries) > 80
    unknown = {name: names_in(query) - exported for name, query in queries.items()}
    assert {name: names for name, names in unknown.items() if names} == {}
    assert all(names_in(query) for query in queries.values())


def test_every_alert_has_its_section_in_the_runbook() -> None:
    headings = re.findall(r"(?m)^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"))
    alerts = load_alerts()
    assert sorted(headings) == sorted(alert.name for alert in alerts)
    assert {alert.annotations["runbook_url"] for alert in alerts} == {
        f"docs/runbook.md#{alert.name.lower()}" for alert in alerts
    }


def test_every_alert_says_who_is_called_and_why() -> None:
    for alert in load_alerts():
        assert alert.labels["severity"] in ("page", "ticket"), alert.name
        assert alert.annotations.keys() == {"summary", "runbook_url"}, alert.name


def test_every_alert_fires_in_a_unit_test() -> None:
    document = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))
    expected = [
        re.findall(r'alertname="(\w+)"', sample["labels"])
        for test in document["tests"]
        for question in test["promql_expr_test"]
        for sample in question["exp_samples"]
    ]
    assert {name for names in expected for name in names} == {alert.name for alert in load_alerts()}


@pytest.mark.timeout(INSTALL_SECONDS)
@pytest.mark.parametrize("check", [("check", "rules", RULES), ("test", "rules", RULE_TESTS)])
def test_prometheus_takes_the_alerts(check: tuple[str | Path, ...]) -> None:
    promtool = find_program("promtool", "prometheus")
    done = subprocess.run([promtool, *check], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    document = load_dashboard(path)
    panels = document["panels"]
    variables = [one["name"] for one in document["templating"]["list"]]
    assert variables == ["datasource", "instance"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels)
    sources = {target["datasource"]["uid"] for panel in panels for target in panel["targets"]}
    assert sources == {"${datasource}"}
    assert _overlaps(panels) == []


def test_dashboards_have_ids_of_their_own() -> None:
    assert len({load_dashboard(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) == 4


def _overlaps(panels: list[dict[str, dict[str, int]]]) -> list[tuple[int, int]]:
    """Return the cells of the grid that two panels take."""
    taken: set[tuple[int, int]] = set()
    twice = []
    for place in (panel["gridPos"] for panel in panels):
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                twice += [(x, y)] if (x, y) in taken else []
                taken.add((x, y))
    return twice
