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
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from storage import queries
from storage.gateway import Database, open_bridge
from tests.conftest import database_dsn, execute, fetch
from tests.isolation.fleets import BASE, OURS, THEIRS, House, fill_database

if TYPE_CHECKING:
    from tests.isolation.scenarios import Scenario

RECENT = BASE + timedelta(hours=2)
HANDED_OUT = {
    "rejection_id",
    "event_id",
    "quarantine_id",
    "cycle_id",
}  # a cycle_id only of a run that was asked for

Dump = list[str]


class Run(NamedTuple):
    """The answer, and the tables after it. Of `THEIRS` every byte, with who wrote and locked each
    row (xmin, xmax).
    """

    answer: Any
    ours: Dump
    theirs_before: Dump
    theirs_after: Dump
    executed: frozenset[str]


class Places(NamedTuple):
    """DSNs of the two filled databases."""

    alone: str
    beside: str


def fill_places(server: str, template: str) -> Places:
    """The two databases. Each keeps a copy of what it was filled with, and every run begins by
    going back to that.
    """
    names = Places("lastheard_alone", "lastheard_beside")
    for name in names:
        execute(
            server,
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE {template}",
        )
    places = Places(*(database_dsn(server, name) for name in names))
    for dsn in places:
        trio.run(fill_database, dsn, dsn == places.beside)
        copies = [f"CREATE TABLE kept.{table} AS TABLE public.{table}" for table in _tables(dsn)]
        execute(dsn, "CREATE SCHEMA kept", *copies)
    return places


def run_scenario(places: Places, scenario: Scenario, *, beside: bool) -> Run:
    dsn = places.beside if beside else places.alone
    execute(dsn, _going_back(dsn), *scenario.prepared)
    return trio.run(_run, dsn, scenario)


@cache
def _going_back(dsn: str) -> str:
    """One round trip. As a replica, so that the order of the tables does not matter."""
    return "SET session_replication_role = replica;" + "".join(
        f"DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM kept.{table};"
        for table in _tables(dsn)
    )


def _tables(dsn: str) -> list[str]:
    return [
        row[0]
        for row in fetch(
            dsn,
            """ SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind
            IN ('r', 'p')
        AND NOT relispartition""",
        )
    ]


async def _run(dsn: str, scenario: Scenario) -> Run:
    async with open_bridge():
        database = Database(dsn)
        try:
            house = House.over(database)
            before = await dump(house, THEIRS, locks=True)
            with recording() as executed:
                answer = await scenario.work(house)
            after = await dump(house, THEIRS, locks=True)
            ours = await dump(house, OURS, locks=False)
            return Run(comparable(answer), ours, before, after, frozenset(executed))
        finally:
            await database.aclose()


@contextmanager
def recording() -> Iterator[set[str]]:
    """The names of the statements that were asked for inside the block."""
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


async def tables_of_workspaces(house: House) -> list[tuple[str, str]]:
    """Every table with rows of a workspace, and the column that names it; from the catalogue, so
    none is forgotten.
    """
    rows = await house.fetch(""" SELECT c.relname::text, a.attname::text FROM pg_class c JOIN
    pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace AND c.relkind
    IN ('r', 'p') AND NOT c.relispartition AND a.attname IN ('workspace_id', 'resource')
        ORDER BY c.relname, a.attname DESC""")
    return list({table: (table, column) for table, column in reversed(rows)}.values())


async def dump(house: House, workspace_id: str, *, locks: bool) -> Dump:
    """All rows of the workspace as text, one a line; `locks`: with who wrote and locked each, and
    every byte of it.
    """
    lines = []
    for table, column in await tables_of_workspaces(house):
        marks = "t.xmin::text || ' ' || t.xmax::text" if locks else "''"
        query = f"SELECT {marks}, to_jsonb(t)::text FROM {table} t WHERE {column} = $1"
        for mark, row in await house.fetch(query, workspace_id):
            lines.append(f"{table} {mark} {row}" if locks else f"{table} {_without_what_differs(row)}")
    return sorted(lines)


async def rows_by_table(house: House, workspace_id: str) -> dict[str, int]:
    counts = {}
    for table, column in await tables_of_workspaces(house):
        ((counts[table],),) = await house.fetch(f"SELECT count(*) FROM {table} WHERE {column} = $1", workspace_id)
    return counts


def _without_what_differs(row: str) -> str:
    fields = json.loads(row)
    asked_for = fields.get("trigger") == "manual"
    kept = {name: value for name, value in fields.items() if name not in HANDED_OUT}
    if "cycle_id" in fields and not asked_for:
        kept["cycle_id"] = fields["cycle_id"]
    return json.dumps({name: _mask(value) for name, value in kept.items()}, sort_keys=True)


def _mask(value: Any) -> Any:
    try:
        return "recent" if datetime.fromisoformat(value) > RECENT else value
    except (TypeError, ValueError):
        return value


def comparable(value: Any) -> Any:
    """Named tuples, dataclasses and mappings as plain values; instants of the run itself as
    `recent`.
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
            return {field.name: comparable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"a scenario answered with {value!r}, which this function cannot compare yet")
