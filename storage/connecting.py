"""New connections to PostgreSQL: the server must be supported, and the session's waits bounded.

Owns the settings of a new session, and the check that the server applied them. It must never keep a
connection; storage/connection_pool.py does that. All of it runs in asyncio.

A pooler may drop the settings that a client sends at the start (PgBouncer's
`ignore_startup_parameters`). Every timeout is then 0, which means none, and no error says so. So
the round trip that opens a session compares the timeouts on the server with ours, and a session
without them is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from storage.driver_errors import FAILURES
from storage.dsn import UNUSABLE
from storage.faults import SESSION_UNBOUNDED, DatabaseRefused, is_lost

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

OLDEST_MAJOR: Final = 15
TRANSACTION_TIMEOUT_SINCE: Final = 17
# The planner then has one way to find the rows of given keys: one look into the index for each. So
# a plan that was made while the tables were empty is right for any fleet. They are set after the
# login rather than sent with it, so that a pooler cannot drop them.
_KEPT_PLANS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
KEEP_PLANS: Final = "; ".join(f"SET {name} = {value}" for name, value in _KEPT_PLANS.items())
PLAN_ANEW: Final = "; ".join(f"RESET {name}" for name in _KEPT_PLANS)


@dataclass(frozen=True)
class SessionBounds:
    """Limits that the server enforces in every session of one Database. Times in seconds.

    `keeps_plans`: each statement is planned once, for a join by primary keys (docs/decisions/0037).
    A connection can change later: KEEP_PLANS, PLAN_ANEW.
    """

    application_name: str
    statement_timeout: float
    lock_timeout: float
    idle_in_transaction_timeout: float = 5.0
    transaction_timeout: float = 10.0
    keeps_plans: bool = False

    @property
    def _timeouts(self) -> dict[str, int]:
        """Return the timeouts that every supported server knows, in milliseconds."""
        return {
            "statement_timeout": _milliseconds(self.statement_timeout),
            "lock_timeout": _milliseconds(self.lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction_timeout),
        }

    def startup_parameters(self) -> dict[str, str]:
        """Return the settings to send with the login.

        The server's version is not known then, so these are settings that every supported server
        takes.
        """
        return {
            "application_name": self.application_name,
            "timezone": "UTC",
            "jit": "off",  # plans are short; compiling them costs more than running them
            # A plan that was cached while a table was small would scan the whole table after a
            # fleet was imported. Planning anew takes well below a millisecond.
            "plan_cache_mode": "force_custom_plan",
            **{name: str(value) for name, value in self._timeouts.items()},
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        }

    def opening_statements(self, major: int, *, watch_client: bool) -> str:
        """Return the SQL of the session's first round trip.

        It fails with SESSION_UNBOUNDED if the server did not apply one of the timeouts.
        """
        statements = [_compare(self._timeouts)]
        if self.keeps_plans:
            statements.append(KEEP_PLANS)
        if watch_client:
            # A backend that works for a vanished client keeps its locks, so let it check for its
            # client.
            statements.append("SET client_connection_check_interval = '2s'")
        if major >= TRANSACTION_TIMEOUT_SINCE:
            statements.append(
                f"SET transaction_timeout = {_milliseconds(self.transaction_timeout)}"
            )
        return "; ".join(statements)


async def open_session(
    hosts: list[str], bounds: SessionBounds, *, connect_timeout: float, command_timeout: float
) -> Connection:
    """Open a connection whose session has these bounds.

    Raises the driver's errors, or DatabaseRefused.
    """
    connection = await connect_to_one(
        hosts,
        connect_timeout,
        command_timeout=command_timeout,
        server_settings=bounds.startup_parameters(),
    )
    major = connection.get_server_version().major
    try:
        try:
            await connection.execute(bounds.opening_statements(major, watch_client=True))
        except asyncpg.InvalidParameterValueError:  # not every platform can watch its clients
            await connection.execute(bounds.opening_statements(major, watch_client=False))
    except BaseException:
        connection.terminate()
        raise
    return connection


async def connect_to_one(hosts: list[str], timeout: float, **options: Any) -> Connection:
    """Connect to the first host that accepts; each host gets an equal share of `timeout` seconds.

    Moves that host to the front of `hosts`. Otherwise a dead machine would cost its share of the
    time at every attempt, and an old primary that comes back would be asked first.

    Raises the last host's failure; a failure that would be the same on every host is raised at
    once. Raises DatabaseRefused for a server that is too old and for a DSN that the driver cannot
    read.
    """
    last_host = hosts[-1]
    for host in tuple(hosts):
        try:
            connection: Connection = await asyncpg.connect(
                host, timeout=timeout / len(hosts), **options
            )
        except (*FAILURES, ValueError) as error:
            if isinstance(error, ValueError) and not isinstance(error, OSError):
                # The driver's message about the DSN may repeat a part of it.
                raise DatabaseRefused("dsn", UNUSABLE, permanent=True) from None
            if host == last_host or not _may_differ_elsewhere(error):
                raise
        else:
            _require_supported(connection)
            hosts.remove(host)
            hosts.insert(0, host)
            return connection
    raise AssertionError("the last host's failure is raised")


def server_version(connection: Connection) -> str:
    """Return a version such as `16.14`. It is known since the login, so there is no round trip."""
    version = connection.get_server_version()
    return f"{version.major}.{version.micro}"  # the driver reads 16.14 as 16.0.14


def _require_supported(connection: Connection) -> None:
    if connection.get_server_version().major < OLDEST_MAJOR:
        found = server_version(connection)
        connection.terminate()
        message = (
            f"PostgreSQL {found} is too old: Lastheard needs PostgreSQL {OLDEST_MAJOR} or later"
        )
        raise DatabaseRefused("0A000", message, permanent=True)


def _may_differ_elsewhere(error: Exception) -> bool:
    """Return whether another host may accept.

    True if this host is away, starting or stopping, or is not the kind of server that the DSN asks
    for.
    """
    wanted = isinstance(error, OSError | asyncpg.TargetServerAttributeNotMatched)
    return wanted or is_lost(getattr(error, "sqlstate", None))


def _compare(timeouts: dict[str, int]) -> str:
    """Return a statement that fails unless the session has these timeouts.

    It is a DO block rather than a query: one round trip, and no prepared statement. Some poolers
    lose prepared statements.
    """
    wanted = ", ".join(f"('{name}', {value})" for name, value in timeouts.items())
    return f"""DO $$
DECLARE wrong text;
BEGIN
    SELECT string_agg(name || ' is ' || current_setting(name), ', ') INTO wrong
    FROM (VALUES {wanted}) AS wanted (name, milliseconds)
    WHERE current_setting(name)::interval <> milliseconds * interval '1 millisecond';
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION '%', wrong USING ERRCODE = '{SESSION_UNBOUNDED}';
    END IF;
END $$"""  # noqa: S608 names and numbers of our own


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
