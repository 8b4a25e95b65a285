"""The facts behind live pages: those of a health report, and then only what was written since.

Owns the question "which rows were written since". The facts, their statements and the counts are
those of storage/health.py, so a live row cannot differ from the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import trio

from ports.live import LiveAnswer, Mark
from ports.reads import DeviceFilter
from storage.configurations import ConfigurationKey, Configurations, FleetConfiguration
from storage.health import filter_parameters, fleet_parameters, read_counts
from storage.health_rows import read_shared, to_health_facts
from storage.queries import picked, sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.health_facts import HealthFacts
    from ports.live import LiveQuery
    from storage.gateway import Connection, Database

ROWS_AT_ONCE: Final = 100  # about 5 ms
_Read: TypeAlias = "tuple[Sequence[Any], FleetConfiguration]"


class PostgresLiveReads:
    """ports.live.LiveReads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._configurations = Configurations(database)

    async def load_live(self, query: LiveQuery) -> LiveAnswer:
        allowed = None if query.counted is None else tuple(sorted(query.counted))
        key = ConfigurationKey(allowed, with_inactive=True, by_read_owner=True)
        name = "page_by_device_counted" if query.since is None else "page_written"

        async def ask(connection: Connection, kept: FleetConfiguration) -> _Read | None:
            wanted = {**fleet_parameters(allowed, kept, query.now), **_page_parameters(query, kept)}
            rows = await connection.fetch(*picked(name, wanted))
            return (rows, kept) if rows[0]["changes"] == kept.changes else None

        return await _to_answer(*await self._configurations.run(key, name, ask))

    async def load_marks(self, workspaces: frozenset[str]) -> Mapping[str, Mark]:
        async def work(connection: Connection) -> Sequence[Any]:
            return cast("Sequence[Any]", await connection.fetch(sql("list_marks"), [*workspaces]))

        rows = await self._database.run(work, in_transaction=False)
        return {
            row["workspace_id"]: Mark(row["configuration"], row["cycles"], row["cycles_at"])
            for row in rows
        }


def _page_parameters(query: LiveQuery, kept: FleetConfiguration) -> dict[str, Any]:
    """All devices of some workspaces, or those that were written since."""
    workspace_id, device_id = query.after or (None, None)
    return {
        **filter_parameters(DeviceFilter()),
        "by_workspace": True,
        "rows_of": kept.shown_of(query.rows_of),
        "since": query.since,
        "device_id": None,
        "after_workspace_id": workspace_id,
        "after_device_id": device_id,
        "limit": query.limit,
    }


async def _to_answer(rows: Sequence[Any], configuration: FleetConfiguration) -> LiveAnswer:
    """Make the answer in pieces, between which other tasks run: thousands of rows may be new."""
    first, shared = rows[0], read_shared(rows)
    facts: list[HealthFacts] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        await trio.lowlevel.checkpoint()
        facts += to_health_facts(rows[start : start + ROWS_AT_ONCE], configuration, shared)
    return LiveAnswer(
        evaluated_at=first["evaluated_at"],
        as_of=first["as_of"],
        counts=read_counts(first),
        rows=facts,
        left_to_legacy=configuration.left_to_legacy,
    )
