"""What devices did by the hour, and the connections of a workspace. Each is one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from domain.model import FaultClass
from domain.trends import ConnectionStateRow, TrendPoint
from storage.queries import bound, sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.trends import TrendQuery
    from storage.gateway import Connection, Database
    from storage.rows import Row

LOOK_BACK_SECONDS: Final = 90.0  # from a part's last event; a streaming device has as many of them
_FAULTS: Final = ("fault", "stream_fault")


async def load_trends(database: Database, workspace_id: str, query: TrendQuery) -> list[TrendPoint]:
    statement = bound(
        "load_trends",
        workspace_id=workspace_id,
        device_ids=list(query.device_ids),
        begins_at=[begins_at for begins_at, _ in query.spans],
        ends_at=[ends_at for _, ends_at in query.spans],
        signal=query.signal,
        look_back_seconds=LOOK_BACK_SECONDS,
    )
    return [_to_point(row) for row in await _fetch(database, *statement)]


async def list_connection_states(database: Database, workspace_id: str) -> list[ConnectionStateRow]:
    rows = await _fetch(database, sql("list_connection_states"), workspace_id)
    return [_to_state(row) for row in rows]


def _to_point(row: Row) -> TrendPoint:
    value = None if row["value"] is None else orjson.loads(row["value"])
    return TrendPoint(row["device_id"], row["place"] - 1, row["heard_at"], value)


def _to_state(row: Row) -> ConnectionStateRow:
    found: dict[str, Any] = {name: row[name] for name in ConnectionStateRow._fields}
    for name in _FAULTS:
        if found[name] is not None:
            found[name] = FaultClass(found[name])
    return ConnectionStateRow(**found)


async def _fetch(database: Database, statement: str, *values: Any) -> Sequence[Row]:
    async def work(connection: Connection) -> Sequence[Row]:
        return await connection.fetch(statement, *values)

    return await database.run(work, in_transaction=False)
