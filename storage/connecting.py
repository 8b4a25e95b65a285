"""A new connection to PostgreSQL: a server that is supported, and a session whose waits are bounded.

Owns what a session is told at its start, and the proof that the server heard it. It must never keep a connection;
storage/gateway.py does that. All of it runs in asyncio.

A pooler may drop what a client sends at the start (PgBouncer's `ignore_startup_parameters`). Every timeout is 0 then,
which means none, and nothing says so. So the round trip that opens a session compares the timeouts on the server with
ours, and a session without them is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from storage.dsn import UNUSABLE
from storage.faults import SESSION_UNBOUNDED, DatabaseRefused, is_lost

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

OLDEST_MAJOR: Final = 15
TRANSACTION_TIMEOUT_SINCE: Final = 17
# Errors of the driver or the network rather than the server's: the state of the session is unknown.
DOUBTFUL: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


@dataclass(frozen=True)
class SessionBounds:
    """What the server enforces in every session of one Database. Times in seconds."""

    application_name: str
    statement_timeout: float
    lock_timeout: float
    idle_in_transaction_timeout: float = 5.0
    transaction_timeout: float = 10.0

    @property
    def _timeouts(self) -> dict[str, int]:
        """The timeouts that every supported server knows, in milliseconds."""
        return {
            "statement_timeout": _milliseconds(self.statement_timeout),
            "lock_timeout": _milliseconds(self.lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction_timeout),
        }

    def startup_parameters(self) -> dict[str, str]:
        """Sent with the login, before the server's version is known: only what every supported server takes."""
        return {
            "application_name": self.application_name,
            "timezone": "UTC",
            "jit": "off",  # plans are short; compiling them costs more than running them
            # A plan kept from when a table was small scans it whole after a fleet was imported; planning anew costs
            # well below a millisecond, and a unit has few statements.
            "plan_cache_mode": "force_custom_plan",
            **{name: str(value) for name, value in self._timeouts.items()},
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        }

    def opening_statements(self, major: int, *, watch_client: bool) -> str:
        """The first round trip of a session. Fails with SESSION_UNBOUNDED when a timeout did not arrive."""
        statements = [_compare(self._timeouts)]
        if watch_client:
            # A backend that works for a vanished client keeps its locks: let it look.
            statements.append("SET client_connection_check_interval = '2s'")
        if major >= TRANSACTION_TIMEOUT_SINCE:
            statements.append(f"SET transaction_timeout = {_milliseconds(self.transaction_timeout)}")
        return "; ".join(statements)


async def open_session(
    hosts: list[str], bounds: SessionBounds, *, connect_timeout: float, command_timeout: float
) -> Connection:
    """A connection whose session has these bounds. Raises the driver's errors, or DatabaseRefused."""
    connection = await connect_to_one(
        hosts, connect_timeout, command_timeout=command_timeout, server_settings=bounds.startup_parameters()
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
    """A connection to the first host that takes one, each host asked for its share of `timeout` seconds.

    That host stands first in `hosts` from then on: a dead machine costs its share of the time whenever it is asked, and
    an old primary that comes back to life should not be asked. Raises the last host's failure, or DatabaseRefused for
    a server that is too old.
    """
    last_host = hosts[-1]
    for host in tuple(hosts):
        try:
            connection: Connection = await asyncpg.connect(host, timeout=timeout / len(hosts), **options)
        except (asyncpg.PostgresError, *DOUBTFUL, ValueError) as error:
            if isinstance(error, ValueError) and not isinstance(error, OSError):
                # The driver read the DSN, and its text may repeat a part of it.
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
    """Such as `16.14`. Known since the login: costs no round trip."""
    version = connection.get_server_version()
    return f"{version.major}.{version.micro}"  # the driver reads 16.14 as 16.0.14


def _require_supported(connection: Connection) -> None:
    if connection.get_server_version().major < OLDEST_MAJOR:
        found = server_version(connection)
        connection.terminate()
        message = f"PostgreSQL {found} is too old: Lastheard needs PostgreSQL {OLDEST_MAJOR} or later"
        raise DatabaseRefused("0A000", message, permanent=True)


def _may_differ_elsewhere(error: Exception) -> bool:
    """Whether another host may do better: this one is away, starting, stopping, or not what the DSN asks for."""
    wanted = isinstance(error, OSError | asyncpg.TargetServerAttributeNotMatched)
    return wanted or is_lost(getattr(error, "sqlstate", None))


def _compare(timeouts: dict[str, int]) -> str:
    """A statement that fails unless the session has these timeouts.

    A block rather than a query: it is one round trip, and needs no prepared statement, which some poolers lose.
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
