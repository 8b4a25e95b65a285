"""The names of the unit's columns, compared with the columns that PostgreSQL describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage.queries import sql
from storage.unit.rows import (
    ConnectionRow,
    LockedDevice,
    LockedRow,
    RereadDevice,
    ResolvedDevice,
)

if TYPE_CHECKING:
    from storage.gateway import Connection, Database

COLUMNS = {
    "resolve_external_ids": ResolvedDevice._fields,
    "lock_devices": LockedDevice._fields,
    "reread_devices": RereadDevice._fields,
    "lock_connections": ConnectionRow._fields,
    "find_locked_device_states": LockedRow._fields,
    "find_locked_snapshots": LockedRow._fields,
    "find_locked_connections": LockedRow._fields,
    "find_locked_cycles": LockedRow._fields,
}


@pytest.mark.parametrize("name", COLUMNS)
async def test_columns_have_the_names_that_postgresql_describes(
    name: str, database: Database
) -> None:
    async def describe(connection: Connection) -> tuple[str, ...]:
        prepared = await connection.prepare(sql(name))
        return tuple(attribute.name for attribute in prepared.get_attributes())

    assert await database.run(describe) == COLUMNS[name]
