"""Tables show what they were given, letter for letter."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from lastheard.demo_view import DemoView
from lastheard.tables import duration, health_table, runtime_tables

if TYPE_CHECKING:
    from rich.table import Table

NAMES = ("Bus 7 [depot]", "Bus [/b]", "Bus [red]8", "Bus :house:", "Bus \\", "[link=x]Bus[/link]")


def printed(*tables: Table) -> str:
    console = Console(file=io.StringIO(), width=300, highlight=False)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_names_of_customers_are_no_markup(name: str) -> None:
    item = {"workspace_id": name, "vehicle_name": name, "device_id": name, "state": "stale", "reason": "device_silent"}
    table = health_table(f"Health of {name}", [{**item, "old_signals": [name]}], with_workspace=True)
    assert printed(table).count(name) == 5


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_a_shard_reports_is_markup(name: str) -> None:
    child = {"state": "parked", "restarts": 3, "since": None, "last_error": {"type": "KeyError", "message": name}}
    workspace = {"token": 1, "streams": {}, "next_start_at": None, "outcomes": {}}
    process = {
        "shard": {"shard_id": name, "owned": {"workspaces": {name: workspace}, "actors": {"children": {name: child}}}},
        "actors": {"children": {}},
        "ingest": {"mailbox": {"lanes": {}}},
    }
    shard = {"shard_id": name, "epoch": 1, "state": "live"}
    assert printed(*runtime_tables({"process": process, "shards": [shard]})).count(name) == 5


def test_what_the_demo_says_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        DemoView().say(f"starting PostgreSQL in {name}", "red")
    assert capsys.readouterr().out == "".join(f"starting PostgreSQL in {name}\n" for name in NAMES)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (12.9, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (356_400, "4 d 3 h")]
)
def test_durations_are_for_people(seconds: Any, text: str) -> None:
    assert duration(seconds) == text
