"""A PostgreSQL in which time stands still until a test moves it.

`FREEZE` adds a schema with its own `clock_timestamp()` and `now()`. Connections of `FrozenDatabase`
have it before pg_catalog in their search path, so the SQL of storage/ finds these functions. They
return a setting of the session, which each call makes from the test's clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from storage.gateway import Database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from storage.gateway import Connection

T = TypeVar("T")

START: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
_SEARCH_PATH: Final = "search_path=standing_time%2Cpg_catalog%2Cpublic"

# A session without the setting gets an error, never the real time. The default of a column names
# its function once and for all, so those that name the real clock are changed.
FREEZE: Final = """
    CREATE SCHEMA standing_time;
    CREATE FUNCTION standing_time.clock_timestamp() RETURNS timestamptz VOLATILE
        RETURN current_setting('standing_time.now')::timestamptz;
    CREATE FUNCTION standing_time.now() RETURNS timestamptz STABLE
        RETURN current_setting('standing_time.now')::timestamptz;
    DO $$
    DECLARE change text;
    BEGIN
        FOR change IN
            SELECT format('ALTER TABLE %s ALTER %I SET DEFAULT standing_time.clock_timestamp()',
                          a.attrelid::regclass, a.attname)
            FROM pg_attrdef d JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
            WHERE pg_get_expr(d.adbin, d.adrelid) = 'clock_timestamp()'
        LOOP
            EXECUTE change;
        END LOOP;
    END $$
"""


class DatabaseClock:
    """The database's time.

    It stands still until a test lets time pass, so ages are exact to the second.
    """

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        return self._now

    def let_pass(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class FrozenDatabase(Database):
    """The gateway to a database with the schema of `FREEZE`, at the time of the test's clock."""

    def __init__(self, dsn: str, clock: DatabaseClock) -> None:
        super().__init__(f"{dsn}{'&' if '?' in dsn else '?'}{_SEARCH_PATH}")
        self.clock = clock

    async def run(self, work: Callable[[Connection], Awaitable[T]], **options: Any) -> T:
        async def at_that_time(connection: Connection) -> T:
            await connection.execute(f"SET standing_time.now = '{self.clock.now().isoformat()}'")
            return await work(connection)

        return await super().run(at_that_time, **options)
