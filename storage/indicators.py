"""The facts behind a workspace's indicators: counted now, or in advance by storage/rollups.py.

Owns the way from stored rows to counts. Both use `count_spans`, so an hour gives the same counts
whoever counts it. What counts mean is decided in domain/indicators.py.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import orjson

from domain.indicators import (
    BOUNDS,
    BURN_WINDOWS_SECONDS,
    HOUR,
    SHARES,
    Counts,
    CycleFacts,
    Refused,
    StreamEdge,
    count_cycles,
    count_lag,
    count_refused,
    count_stream,
    floor_to_hour,
    split_by_hours,
)
from ports.indicators import BurnWindow, CountedSpan, Freshness, IndicatorFacts, ObjectiveSums
from storage.queries import bound, sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.indicators import HourPart
    from storage.gateway import Connection, Database
    from storage.rows import Row

FACTS_DAYS: Final = 30  # unless the settings say otherwise
MAX_HOURS_FROM_FACTS: Final = 48  # in one request; the newest ones
_DAY_WINDOWS: Final = tuple(window for window in BURN_WINDOWS_SECONDS if window <= 86_400)
CHARTED: Final = ("samples", "active", "fresh", "updated", "slots", "good_slots")


class PostgresIndicators:
    """ports.indicators.Indicators."""

    def __init__(self, database: Database, facts_days: int = FACTS_DAYS) -> None:
        """`facts_days`: for how long every fact is kept."""
        self._database = database
        self._kept = timedelta(days=facts_days)

    async def load_indicators(
        self, workspace_id: str, begins_at: datetime, ends_at: datetime
    ) -> IndicatorFacts | None:
        async def work(connection: Connection) -> IndicatorFacts | None:
            row = await connection.fetchrow(sql("read_freshness"), workspace_id, list(SHARES))
            if row is None:
                return None
            spans = split_by_hours(begins_at, ends_at)
            counted = await _read_rollups(connection, workspace_id, spans)
            known_since = floor_to_hour(max(row["created_at"], begins_at))
            left = [span for span in spans if span.hour not in counted]
            left = [span for span in left if span.ends_at > known_since]
            oldest = row["at"] - self._kept
            told = [span for span in left if span.begins_at >= oldest][-MAX_HOURS_FROM_FACTS:]
            counts = await _sum_rollups(connection, workspace_id, counted)
            for span, found in zip(
                told, await count_spans(connection, workspace_id, told), strict=True
            ):
                counts.update(found)
                counted[span.hour] = CountedSpan(*span, found)
            (covered,) = await connection.fetch(sql("count_covered"), workspace_id, ends_at)
            windows = await connection.fetch(
                sql("sum_burn_windows"), workspace_id, ends_at, list(BURN_WINDOWS_SECONDS)
            )
            return IndicatorFacts(
                _to_freshness(row),
                covered["active"],
                covered["covered"],
                [BurnWindow(*window) for window in windows],
                counts,
                [counted[hour] for hour in sorted(counted)],
                len(left) - len(told),
            )

        return await self._database.run(work, readonly=True)

    async def sum_objectives(
        self, workspaces: Sequence[str], begins_at: datetime, ends_at: datetime
    ) -> Mapping[str, ObjectiveSums]:
        spans = split_by_hours(begins_at, ends_at)
        statement, *values = bound(
            "sum_objectives",
            workspaces=list(workspaces),
            begins_at=[span.begins_at for span in spans],
            ends_at=[span.ends_at for span in spans],
            until=ends_at,
            windows=list(_DAY_WINDOWS),
        )

        async def work(connection: Connection) -> Sequence[Row]:
            return await connection.fetch(statement, *values)

        rows = await self._database.run(work, in_transaction=False)
        return {row["workspace_id"]: _to_sums(row) for row in rows}


def _to_sums(row: Row) -> ObjectiveSums:
    windows = zip(
        _DAY_WINDOWS, row["burn_samples"], row["burn_active"], row["burn_fresh"], strict=True
    )
    burn = [BurnWindow(*window) for window in windows]
    return ObjectiveSums(row["samples"], row["active"], row["fresh"], burn)


async def count_spans(
    connection: Connection, workspace_id: str, spans: Sequence[HourPart]
) -> list[Counts]:
    """Return the counts of each span, from the facts. Runs in asyncio."""
    counts: list[Counts] = [Counter() for _ in spans]
    if not spans:
        return counts
    keys = workspace_id, [span.begins_at for span in spans], [span.ends_at for span in spans]
    cycles: list[list[CycleFacts]] = [[] for _ in spans]
    for row in await connection.fetch(sql("list_cycles_of_spans"), *keys):
        facts = {name: row[name] for name in CycleFacts._fields}
        facts["summary"] = orjson.loads(row["summary"])
        cycles[row["span"] - 1].append(CycleFacts(**facts))
    for row in await connection.fetch(sql("count_refused_of_spans"), *keys):
        span, *refused = row
        counts[span - 1].update(count_refused(Refused(*refused)))
    for row in await connection.fetch(sql("count_lags_of_spans"), *keys, list(BOUNDS)):
        span, stage, bucket, events = row
        counts[span - 1].update(count_lag(stage, bucket, events))
    first, last = spans[0].begins_at, spans[-1].ends_at
    rows = await connection.fetch(sql("list_stream_edges"), workspace_id, first, last)
    edges = [StreamEdge(*row) for row in rows]
    for found, of_span, own in zip(counts, spans, cycles, strict=True):
        found.update(count_cycles(own))
        found.update(count_stream(edges, of_span))
    return [+found for found in counts]


async def _read_rollups(
    connection: Connection, workspace_id: str, spans: Sequence[HourPart]
) -> dict[datetime, CountedSpan]:
    """Return the whole hours that were counted in advance."""
    whole = {span.hour: span for span in spans if span.is_whole}
    if not whole:
        return {}
    limits = min(whole), max(whole) + HOUR
    rows = await connection.fetch(sql("list_indicator_hours"), workspace_id, *limits)
    return {
        row["hour"]: CountedSpan(
            *whole[row["hour"]], Counter({name: row[name] or 0 for name in CHARTED})
        )
        for row in rows
    }


async def _sum_rollups(
    connection: Connection, workspace_id: str, counted: Mapping[datetime, CountedSpan]
) -> Counts:
    if not counted:
        return Counter()
    limits = min(counted), max(counted) + timedelta(hours=1)
    rows = await connection.fetch(sql("sum_indicator_hours"), workspace_id, *limits)
    return Counter({row["name"]: row["n"] for row in rows})


def _to_freshness(row: Row) -> Freshness:
    percentiles = row["percentiles"] or [None] * len(SHARES)
    return Freshness(
        row["at"],
        row["target"],
        row["active"],
        row["heard"],
        row["fresh"],
        dict(zip(SHARES, percentiles, strict=True)),
        row["oldest"],
    )
