"""One run of a scenario on a filled database: its answer, and the tables after it.

Owns the comparison: instants younger than an hour are written as `recent`, and ids that the
database hands out in turn are left out, because those depend on what others did before.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from storage import queries
from tests.conftest import database_dsn, execute
from tests.isolation.fleets import BASE, OURS, THEIRS, Harness, fill_database
from tests.refilling import keep_rows

if TYPE_CHECKING:
    from storage.gateway import Database
    from tests.isolation.scenario import Scenario
    from tests.isolation.standing import Standing

RECENT = BASE + timedelta(hours=2)
HANDED_OUT = {
    "rejection_id",
    "event_id",
    "quarantine_id",
    "change_id",
    "part_of",
    "span_id",
    "cycle_id",
}  # a cycle_id only of a run that was asked for

# A column that names a workspace, and its value for the workspace $1.
NAMED_BY = {"workspace_id": "$1", "resource": "'workspace:' || $1"}

Dump = list[str]


class Run(NamedTuple):
    """The answer, and the tables after it.

    Of `THEIRS` they have every byte, and which transactions wrote and locked each row.
    """

    answer: Any
    ours: Dump
    theirs_before: Dump
    theirs_after: Dump
    executed: frozenset[str]


class Databases(NamedTuple):
    """The DSNs of the two filled databases.

    `go_back` is SQL that brings either back to what it was filled with. `standing` runs work on
    them.
    """

    alone: str
    beside: str
    go_back: str
    standing: Standing


def fill_databases(server: str, template: str, standing: Standing) -> Databases:
    """Fill the two databases.

    Each keeps a copy of what it was filled with, and every run begins there.
    """
    alone, beside = (_make_database(server, template, name) for name in ("alone", "beside"))
    trio.run(fill_database, alone, False)
    trio.run(fill_database, beside, True)
    go_back = {keep_rows(dsn) for dsn in (alone, beside)}
    return Databases(alone, beside, go_back.pop(), standing)


def _make_database(server: str, template: str, name: str) -> str:
    full_name = f"lastheard_{name}"
    drop = f"DROP DATABASE IF EXISTS {full_name} WITH (FORCE)"
    execute(server, drop, f"CREATE DATABASE {full_name} TEMPLATE {template}")
    return database_dsn(server, full_name)


def run_scenario(databases: Databases, scenario: Scenario, *, beside: bool) -> Run:
    return databases.standing.run(
        _run, databases.beside if beside else databases.alone, databases.go_back, scenario
    )


async def _run(database: Database, go_back: str, scenario: Scenario) -> Run:
    harness = Harness.over(database)
    for statement in (go_back, *scenario.prepared):
        await harness.execute(statement)
    before = await dump(harness, THEIRS, locks=True)
    with recording() as executed:
        answer = await scenario.work(harness)
    after = await dump(harness, THEIRS, locks=True)
    ours = await dump(harness, OURS, locks=False)
    return Run(comparable(answer), ours, before, after, frozenset(executed))


@contextmanager
def recording() -> Iterator[set[str]]:
    """Collect the names of the statements that are run inside the block."""
    asked: set[str] = set()

    class Recording(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            asked.add(name)
            return super().__getitem__(name)

    with statements_replaced(Recording(queries.STATEMENTS)):
        yield asked


@contextmanager
def statements_replaced(statements: Mapping[str, str]) -> Iterator[None]:
    original, queries.STATEMENTS = queries.STATEMENTS, statements
    try:
        yield
    finally:
        queries.STATEMENTS = original


# --- Looking --------------------------------------------------------------------------------------


async def tables_of_workspaces(harness: Harness) -> list[tuple[str, str]]:
    """Return every table with rows of a workspace, and the column that names the workspace.

    They come from the catalogue, so none is forgotten.
    """
    rows = await harness.fetch(""" SELECT c.relname::text, a.attname::text FROM pg_class c JOIN
    pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace AND c.relkind
    IN ('r', 'p') AND NOT c.relispartition AND a.attname IN ('workspace_id', 'resource')
        ORDER BY c.relname, a.attname DESC""")
    return list({table: (table, column) for table, column in reversed(rows)}.values())


async def dump(harness: Harness, workspace_id: str, *, locks: bool) -> Dump:
    """Return all rows of the workspace as text, one a line.

    With `locks`, each row has all its bytes, and which transactions wrote and locked it.
    """
    marks = "t.xmin::text || ' ' || t.xmax::text" if locks else "''"
    query = " UNION ALL ".join(
        f"SELECT '{table}', {marks}, to_jsonb(t)::text FROM {table} t"
        f" WHERE {column} = {NAMED_BY[column]}"
        for table, column in await tables_of_workspaces(harness)
    )
    rows = await harness.fetch(
        query, workspace_id
    )  # in one round trip: this runs some thousand times
    return sorted(
        f"{table} {mark} {row}" if locks else f"{table} {_without_what_differs(row)}"
        for table, mark, row in rows
    )


async def rows_by_table(harness: Harness, workspace_id: str) -> dict[str, int]:
    counts = {}
    for table, column in await tables_of_workspaces(harness):
        ((counts[table],),) = await harness.fetch(
            f"SELECT count(*) FROM {table} WHERE {column} = {NAMED_BY[column]}", workspace_id
        )
    return counts


def _without_what_differs(row: str) -> str:
    fields = json.loads(row)
    asked_for = fields.get("trigger") == "manual"
    kept = {name: value for name, value in fields.items() if name not in HANDED_OUT}
    if "cycle_id" in fields and not asked_for:
        kept["cycle_id"] = fields["cycle_id"]
    if fields.get("kind") == "cycle":  # the history of changes: a run's id is new each time
        del kept["subject"]
    return json.dumps({name: _mask(value) for name, value in kept.items()}, sort_keys=True)


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _mask(item) for name, item in value.items()}
    try:
        return "recent" if datetime.fromisoformat(value) > RECENT else value
    except (TypeError, ValueError):
        return value


def comparable(value: Any) -> Any:
    """Return named tuples, dataclasses and mappings as plain values.

    Instants of the run itself become `recent`.
    """
    match value:
        case datetime():
            return "recent" if value > RECENT else value.isoformat()
        case Mapping():
            return {str(key): comparable(item) for key, item in value.items()}
        case str() | bytes() | None | bool() | int() | float():
            return value
        case tuple() | list() | frozenset() | set():
            return [comparable(item) for item in value]
        case _ if dataclasses.is_dataclass(value):
            return {
                field.name: comparable(getattr(value, field.name))
                for field in dataclasses.fields(value)
            }
    raise TypeError(f"a scenario answered with {value!r}, which this function cannot compare yet")
