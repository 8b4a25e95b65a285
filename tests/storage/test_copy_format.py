"""Rows of events that are encoded here reach PostgreSQL as those that the driver encodes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from storage.unit.copy_format import FORMS, encode_rows

if TYPE_CHECKING:
    from storage.gateway import Connection, Database

AT = datetime(2026, 11, 28, 10, 4, 0, 123457, tzinfo=UTC)
FULL: dict[str, Any] = {
    "workspace_id": "harbour",
    "device_id": "bus-1",
    "sequence": 2**63 - 1,
    "recorded_at": AT,
    "received_at": AT.astimezone(timezone(timedelta(hours=-5, minutes=-30))),
    "observed_at": AT.replace(year=2000, month=1, day=1, hour=0, minute=0),
    "signals": '{"charging_status":"é\\u2028🚌 \\"\\\\"}',
    "provider_id": "feed",
    "trace": "0123456789abcdef0123456789abcdef",
    "trace_id": "a trace: é\t\n",
    "shard_id": "shard-1",
    "epoch": 1,
    "resource": "provider/harbour/feed",
    "token": 7,
    "assignment": 2**31 - 1,
    "reception_at": datetime(2999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
}
BEFORE_2000 = {
    "sequence": 1,
    "observed_at": datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "assignment": -(2**31),
    "epoch": -(2**63),
    "workspace_id": "",
}
NULLS = {
    "sequence": 2,
    **dict.fromkeys(("trace", "trace_id", "resource", "token", "reception_at")),
}


async def test_rows_are_stored_as_the_driver_stores_them(database: Database) -> None:
    rows = [FULL, FULL | BEFORE_2000, FULL | NULLS]
    columns = [[row[name] for row in rows] for name in FORMS]

    async def work(connection: Connection) -> list[Any]:
        # A copy of the table has no partitions, so it takes rows of any day.
        for table in ("ours", "theirs"):
            await connection.execute(f"CREATE TEMPORARY TABLE {table} (LIKE events)")
        source: Any = memoryview(encode_rows(list(FORMS), columns))
        await connection.copy_to_table("ours", source=source, columns=FORMS, format="binary")
        records = list(zip(*columns, strict=True))
        await connection.copy_records_to_table("theirs", records=records, columns=FORMS)
        same = "SELECT o::text, t::text FROM ours o FULL JOIN theirs t USING (sequence)"
        return await connection.fetch(same)

    found = [tuple(row) for row in await database.run(work)]
    assert [ours for ours, _ in found] == [theirs for _, theirs in found]
    assert len(found) == len(rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sequence", 2**63),
        ("assignment", 2**31),
        ("sequence", "1"),
        ("device_id", None),
        ("device_id", "\ud800"),
        ("signals", b"{}"),
        ("observed_at", AT.replace(tzinfo=None)),
        ("observed_at", None),
        ("trace", "no uuid"),
        ("token", 1.5),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises((TypeError, AttributeError, ValueError, struct.error)):
        encode_rows([name], [[value]])
