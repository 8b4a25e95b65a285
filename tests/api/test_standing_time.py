"""SQL and the defaults of columns read the clock that the test moves, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.api.harness import later
from tests.api.standing_time import START

if TYPE_CHECKING:
    from storage.gateway import Connection
    from tests.api.standing_time import FrozenDatabase

INSTANTS = "SELECT clock_timestamp(), now()"
DEFAULTS = """
    SELECT DISTINCT pg_get_expr(adbin, adrelid, true) FROM pg_attrdef
    WHERE pg_get_expr(adbin, adrelid, true) ~ 'timestamp|now|current'
"""


async def fetch_row(database: FrozenDatabase, statement: str) -> tuple[object, ...]:
    async def work(connection: Connection) -> tuple[object, ...]:
        (row,) = await connection.fetch(statement)
        return tuple(row)

    return await database.run(work)


async def test_sql_reads_the_clock_that_the_test_moves(frozen: FrozenDatabase) -> None:
    assert await fetch_row(frozen, INSTANTS) == (START, START)
    frozen.clock.let_pass(90)
    assert await fetch_row(frozen, INSTANTS) == (later(90), later(90))


async def test_defaults_of_columns_read_the_same_clock(frozen: FrozenDatabase) -> None:
    assert await fetch_row(frozen, DEFAULTS) == ("clock_timestamp()",)
