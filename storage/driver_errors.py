"""The driver's errors: which of them leave a session in doubt, and ours for each.

Only this module and storage/connecting.py know asyncpg. storage/faults.py judges the errors of the
server, by SQLSTATE.
"""

from __future__ import annotations

import re
from typing import Final

import asyncpg

from storage.faults import DatabaseAway, explain_error, is_lost

# Errors of the driver or the network, not of the server: the session's state is then unknown.
DOUBTFUL: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
FAILURES: Final = (asyncpg.PostgresError, *DOUBTFUL)
RERUN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
STALE_PLAN: Final = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
ConnectionEnded: Final = asyncpg.ConnectionDoesNotExistError


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error that the server sent; None for any other error."""
    return getattr(error, "sqlstate", None)


def was_answered(error: BaseException) -> bool:
    """Return whether the server itself said that the COMMIT failed, in a session that goes on."""
    return isinstance(error, asyncpg.PostgresError) and not is_lost(error.sqlstate)


def translate(error: BaseException) -> Exception:
    """Return our exception for one of FAILURES."""
    if isinstance(error, asyncpg.PostgresError):
        constraint = getattr(error, "constraint_name", None)
        return explain_error(error.sqlstate or "XX000", constraint, str(error))
    return DatabaseAway(f"PostgreSQL does not answer{_why(error)}", retry_after=0.2)


def _why(error: BaseException) -> str:
    """Return what follows the sentence; of the system's errors without their numbers."""
    match error, re.sub(r"\[Errno -?\d+\] ", "", str(error)):
        case TimeoutError(), "":
            return " in time"
        case OSError(), text if text:
            return f": {text}"
        case _, text:
            return ": " + ": ".join(part for part in (type(error).__name__, text) if part)
