"""Tables show what they were given, letter for letter."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from lastheard.demo_view import DemoView
from lastheard.tables import (
    describe_source,
    describe_switched_off,
    duration,
    health_table,
    runtime_tables,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    item = {
        "workspace_id": name,
        "vehicle_name": name,
        "device_id": name,
        "state": "stale",
        "reason": "device_silent",
    }
    table = health_table(
        f"Health of {name}", [{**item, "old_signals": [name]}], 300, with_workspace=True
    )
    assert printed(table).count(name) == 5


def test_switched_off_things_are_said_below_the_table() -> None:
    def page(*, active: bool, **connections: bool) -> dict[str, Any]:
        items = [
            {"provider_id": name, "evidence": {"connection_active": is_active}}
            for name, is_active in connections.items()
        ]
        return {"workspace_active": active, "items": items}

    assert list(describe_switched_off([page(active=True, live=True)])) == []
    lines = list(describe_switched_off([page(active=False, b=False), page(active=False, a=False)]))
    assert lines == [
        "Switched off: the workspace. Nothing is collected, and it is on no worklist.\n",
        "Switched off: connection a, b. Nothing is collected over it.\n",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_a_shard_reports_is_markup(name: str) -> None:
    child = {
        "state": "parked",
        "restarts": 3,
        "since": None,
        "last_error": {"type": "KeyError", "message": name},
    }
    workspace = {"token": 1, "streams": {}, "next_start_at": None, "outcomes": {}}
    process = {
        "shard": {
            "shard_id": name,
            "owned": {"workspaces": {name: workspace}, "actors": {"children": {name: child}}},
        },
        "actors": {"children": {}},
        "ingest": {"mailbox": {"lanes": {}}, "deferred": {"submissions": 0}},
        "database": {"server_version": None, "pools": {}},
    }
    shard = {"shard_id": name, "epoch": 1, "state": "live"}
    assert printed(*runtime_tables({"process": process, "shards": [shard]}, 300)).count(name) == 5


LANE = {
    "waiting_size": 7,
    "capacity": 4000,
    "peak_size": 11,
    "parked_senders": 5,
    "refused_items": 2,
}
POOLS = {
    "ingest": {"in_use": 1, "pool_size": 1, "waiting": 0},
    "api": {"in_use": 2, "pool_size": 3, "waiting": 4},
}
DEFERRED = {
    "submissions": 5,
    "updates": 30,
    "locked_rows": 1,
    "oldest_seconds": 95.0,
    "oldest_seconds_by_workspace": {"harbour": 95.0, "depot": 3.5, "quay": 1.0},
}
NONE_DEFERRED = {**DEFERRED, "submissions": 0}


def runtime_lines(*, deferred: Mapping[str, Any], version: str | None = "17.5") -> list[list[str]]:
    """The lines of `lastheard runtime`, each as its cells."""
    process = {
        "shard": {"shard_id": "a", "owned": {"workspaces": {}, "actors": {"children": {}}}},
        "actors": {"children": {}},
        "ingest": {"mailbox": {"lanes": {"poll": LANE}}, "deferred": deferred},
        "database": {"server_version": version, "pools": POOLS},
    }
    text = printed(*runtime_tables({"process": process, "shards": []}, 300))
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_runtime_counts_the_waiting_senders_of_a_lane() -> None:
    lines = runtime_lines(deferred=NONE_DEFERRED)
    assert ["lane", "waiting", "capacity", "peak", "waiting senders", "refused"] in lines
    assert ["poll", "7", "4000", "11", "5", "2"] in lines


def test_runtime_shows_the_postgresql_version_and_each_pool() -> None:
    lines = runtime_lines(deferred=NONE_DEFERRED)
    start = lines.index(["PostgreSQL 17.5"])
    assert lines[start + 1] == ["connections for", "in use", "waiting"]
    assert lines[start + 3 : start + 5] == [["ingest", "1 of 1", "0"], ["api", "2 of 3", "4"]]


def test_runtime_says_when_the_version_is_not_known() -> None:
    lines = runtime_lines(deferred=NONE_DEFERRED, version=None)
    assert ["PostgreSQL, version unknown"] in lines


def test_runtime_shows_deferred_submissions() -> None:
    lines = runtime_lines(deferred=DEFERRED)
    start = lines.index(["deferred submissions"])
    assert lines[start + 1] == ["submissions", "updates", "locked rows", "oldest", "workspaces"]
    waited = "harbour 1 min 35 s, depot 3 s and 1 more"
    assert lines[start + 3] == ["5", "30", "1", "1 min 35 s", waited]


def test_runtime_has_no_such_table_when_none_is_deferred() -> None:
    assert ["deferred submissions"] not in runtime_lines(deferred=NONE_DEFERRED)


def test_what_the_demo_says_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        DemoView().say(f"starting PostgreSQL in {name}", "red")
    assert capsys.readouterr().out == "".join(f"starting PostgreSQL in {name}\n" for name in NAMES)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (12.9, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (356_400, "4 d 3 h")],
)
def test_durations_are_for_people(seconds: Any, text: str) -> None:
    assert duration(seconds) == text


def test_what_a_legacy_system_shows_or_leaves_out_is_said() -> None:
    assert list(describe_source([{"served_by": "core"}])) == []
    assert list(describe_source([{"served_by": "legacy"}])) == [
        "These are the values of the legacy system.\n"
    ]
    missing = {"workspace_id": "harbour", "reason": "legacy-unreachable", "detail": "It is away."}
    worklist = [{"unavailable_workspaces": [missing]}, {"unavailable_workspaces": [missing]}]
    assert list(describe_source(worklist)) == ["Missing: workspace harbour. It is away.\n"]
