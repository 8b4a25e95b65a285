"""Rollups of indicators: hours that can change no more are counted in advance.

Owns the choice of hours and the writing; storage/indicators.py counts them. One shard at a time
does this, under a database lock. Each hour is a transaction of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import orjson

from domain.indicators import HOUR, HourPart
from storage.indicators import count_spans
from storage.queries import sql
from storage.upkeep import is_ours

if TYPE_CHECKING:
    from datetime import datetime

    from domain.indicators import Counts
    from storage.gateway import Connection, Database

CHORE = "build_indicator_hours"


class SettledHour(NamedTuple):
    """An hour of a workspace that can change no more."""

    workspace_id: str
    hour: datetime


class PostgresRollupStore:
    """ports.rollups.RollupStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def build_hours(self, *, hours_back: int, most: int) -> int:
        async def find(connection: Connection) -> list[SettledHour]:
            rows = await connection.fetch(sql("find_settled_hours"), hours_back, most)
            return [SettledHour(*row) for row in rows]

        built = 0
        for settled in await self._database.run(find, in_transaction=False):
            if not await self._database.run(partial(_build, settled)):
                break
            built += 1
        return built


def dump_counts(counts: Counts) -> str:
    """Return the counts as they are stored: the same text for the same counts."""
    return orjson.dumps(dict(+counts), option=orjson.OPT_SORT_KEYS).decode()


async def _build(settled: SettledHour, connection: Connection) -> bool:
    """Count one hour and store it. Returns False while another shard does this."""
    if not await is_ours(CHORE, connection):
        return False
    span = HourPart(settled.hour, settled.hour + HOUR)
    (counts,) = await count_spans(connection, settled.workspace_id, [span])
    await connection.execute(sql("write_indicator_hour"), *settled, dump_counts(counts))
    return True
