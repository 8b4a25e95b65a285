"""A device's day from one statement: the JSON of each part becomes the values of the port."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from domain.device_day import (
    MAX_EDGES,
    UPDATES_READ_PER_BUCKET,
    DayCycles,
    DayEdge,
    DayPoint,
    DayQuery,
    DayRefusal,
    DeviceDayRow,
    HeardBucket,
)
from domain.position import HALVES, POSITION
from storage.queries import bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.gateway import Connection, Database
    from storage.rows import Row


async def load_device_day(
    database: Database, workspace_id: str, device_id: str, query: DayQuery
) -> DeviceDayRow | None:
    """Return the day of a device; None if there is no such device. One round trip."""
    statement, args = _bind(workspace_id, device_id, query)

    async def work(connection: Connection) -> list[Any]:
        return await connection.fetch(statement, *args)

    rows = await database.run(work, in_transaction=False)
    return _to_day(rows[0]) if rows else None


def _bind(workspace_id: str, device_id: str, query: DayQuery) -> tuple[str, Sequence[Any]]:
    statement, *args = bound(
        "load_device_day",
        workspace_id=workspace_id,
        device_id=device_id,
        begins_at=query.begins_at,
        ends_at=query.ends_at,
        step=query.step,
        buckets=query.buckets,
        max_edges=MAX_EDGES,
        updates_read=UPDATES_READ_PER_BUCKET,
    )
    return statement, args


def _to_day(row: Row) -> DeviceDayRow:
    return DeviceDayRow(
        row["read_at"],
        row["provider_id"],
        row["before_at"],
        [HeardBucket(n, updates, _at(a), _at(b)) for n, updates, a, b in _parts(row, "receipts")],
        [
            DayCycles(outcome, answer, cycles, _at(a), _at(b))
            for outcome, answer, cycles, a, b in _parts(row, "cycles")
        ],
        [
            DayRefusal(_at(hour), outcome, reason, signal, times, _at(a), _at(b), detail)
            for hour, outcome, reason, signal, times, a, b, detail in _parts(row, "refusals")
        ],
        [DayEdge(_at(at), *rest) for at, *rest in _parts(row, "connection_edges")],
        [DayEdge(_at(at), *rest) for at, *rest in _parts(row, "device_edges")],
        _to_signals(_parts(row, "signals")),
    )


def _to_signals(points: Sequence[Any]) -> dict[str, list[DayPoint]]:
    """Return the points by signal, a position as its two halves."""
    found: dict[str, list[DayPoint]] = {}
    for signal, stated_at, value in points:
        at = _at(stated_at)
        if signal != POSITION:
            found.setdefault(signal, []).append(DayPoint(at, value))
            continue
        for name, half in zip(HALVES, value, strict=True):
            found.setdefault(name, []).append(DayPoint(at, half))
    return found


def _parts(row: Row, name: str) -> Sequence[Any]:
    text = row[name]
    found: Sequence[Any] = [] if text is None else orjson.loads(text)
    return found


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
