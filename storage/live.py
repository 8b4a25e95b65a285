"""The facts behind live pages: those of a health report, and then only what was written since.

Owns the question "which rows were written since". The facts, their statements and the counts are
those of storage/health.py, so a live row cannot differ from the report.

The configuration of the fleet is kept between two questions about the same workspaces. Each answer
says whether it has changed since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import orjson
import trio

from ports.live import LiveAnswer, Mark
from ports.reads import HealthQuery, WorklistPosition
from storage.health import (
    FleetConfiguration,
    page_parameters,
    read_configuration,
    read_shared,
    to_counts,
    to_health_facts,
)
from storage.queries import bound, sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.health_facts import HealthFacts
    from ports.live import LiveQuery
    from storage.gateway import Connection, Database

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # in the order of devices all ranks are equal

ROWS_AT_ONCE: Final = 100  # about 5 ms


class _Found(NamedTuple):
    rows: Sequence[Any]
    configuration: FleetConfiguration


class PostgresLiveReads:
    """ports.live.LiveReads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._of: frozenset[str] | None = None  # the workspaces of the kept configuration
        self._kept: FleetConfiguration | None = None

    async def load_live(self, query: LiveQuery) -> LiveAnswer:
        async def work(connection: Connection) -> _Found | None:
            return await self._load(connection, query)

        found = await self._database.run(work, in_transaction=False)
        if found is None:  # it was configured meanwhile; within a snapshot it cannot be
            found = await self._database.run(work, readonly=True)
        assert found is not None  # noqa: S101 nothing changes within a snapshot
        return await _to_answer(*found)

    async def _load(self, connection: Connection, query: LiveQuery) -> _Found | None:
        configuration = await self._configuration(connection, query.counted)
        rows = await connection.fetch(*bound("page_health", **_wanted(query, configuration)))
        if rows[0]["changes"] != configuration.changes:
            self._kept = None
            return None
        self._kept, self._of = configuration, query.counted
        return _Found(rows, configuration)

    async def _configuration(
        self, connection: Connection, counted: frozenset[str] | None
    ) -> FleetConfiguration:
        if self._kept is not None and self._of == counted:
            return self._kept
        allowed = None if counted is None else sorted(counted)
        rows = await connection.fetch(sql("list_threshold_classes"), allowed, True, True)
        return read_configuration(rows)

    async def load_marks(self, workspaces: frozenset[str]) -> Mapping[str, Mark]:
        async def work(connection: Connection) -> Sequence[Any]:
            return cast("Sequence[Any]", await connection.fetch(sql("list_marks"), [*workspaces]))

        rows = await self._database.run(work, in_transaction=False)
        return {
            row["workspace_id"]: Mark(row["configuration"], row["cycles"], row["cycles_at"])
            for row in rows
        }


def _wanted(query: LiveQuery, configuration: FleetConfiguration) -> dict[str, Any]:
    """Return the parameters of page_health."""
    after = None
    if query.after is not None:
        after = WorklistPosition(_NO_TIME, *query.after)
    return page_parameters(
        HealthQuery(after=after, limit=query.limit, now=query.now),
        configuration,
        allowed=None if query.counted is None else sorted(query.counted),
        by_workspace=True,
    ) | {"rows_of": sorted(query.rows_of), "since": query.since, "with_as_of": True}


async def _to_answer(rows: Sequence[Any], configuration: FleetConfiguration) -> LiveAnswer:
    """Make the answer in pieces, between which other tasks run: thousands of rows may be new."""
    first, shared = rows[0], read_shared(rows)
    counted: dict[str, dict[str, int]] = orjson.loads(first["counts"])
    facts: list[HealthFacts] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        await trio.lowlevel.checkpoint()
        facts += to_health_facts(rows[start : start + ROWS_AT_ONCE], configuration, shared)
    return LiveAnswer(
        evaluated_at=first["evaluated_at"],
        as_of=first["as_of"],
        counts={name: to_counts(counts) for name, counts in counted.items()},
        rows=facts,
        left_to_legacy=configuration.left_to_legacy,
    )
