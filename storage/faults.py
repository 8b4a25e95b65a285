"""Our exceptions for PostgreSQL's errors: it is away, it refuses, or the data itself is at fault.

Owns the lists of errors. Knows only SQLSTATEs and constraint names, not the driver;
storage/driver_errors.py translates the driver's exceptions and asks here. An error that is in no
list counts as the environment's: the batch is kept and nothing is thrown away.
"""

from __future__ import annotations

from typing import Any

from ports.ingest import RowsLocked, UnitPoisoned
from runtime.faults import EnvironmentFault


class DatabaseAway(EnvironmentFault):
    """No answer from PostgreSQL.

    It is not reachable, too slow or shutting down, or all our connections are busy.
    """


class LockTimeout(DatabaseAway, RowsLocked):
    """55P03: another transaction held a row or a table for longer than lock_timeout."""


class CommitInDoubt(DatabaseAway):
    """The connection was lost after COMMIT had been sent.

    `result` is what the work returned. It is true if the transaction committed, and only the
    database can tell.
    """

    def __init__(self, result: Any) -> None:
        super().__init__("the connection was lost during COMMIT", retry_after=0.2)
        self.result = result


class DatabaseRefused(EnvironmentFault):
    """PostgreSQL answered with an error that the data did not cause.

    Examples: a missing partition, a missing right, a full disk.
    """

    def __init__(self, sqlstate: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(f"{sqlstate}: {message}", permanent=permanent, retry_after=1.0)
        self.sqlstate = sqlstate


# Errors that values cause, wherever they are sent: PostgreSQL manual, appendix A. Not the whole
# class 22: 22023 and similar errors come from our own statements. An integrity error counts only if
# it names a constraint of ours that values can break.
POISON_SQLSTATES = frozenset(
    {
        "21000",  # cardinality_violation: a key twice in one batch
        # data_exception; also what the driver says of a value that it cannot send (a lone
        # surrogate, 2**64)
        "22000",
        "22001",  # string_data_right_truncation
        "22003",  # numeric_value_out_of_range
        "22007",  # invalid_datetime_format
        "22008",  # datetime_field_overflow
        "22021",  # character_not_in_repertoire: NUL in text
        "22030",  # duplicate_json_object_key_value
        "22032",  # invalid_json_text
        "22P02",  # invalid_text_representation
        "22P03",  # invalid_binary_representation
        "22P05",  # untranslatable_character: \u0000 in jsonb
        "23502",  # not_null_violation
        "54000",  # program_limit_exceeded: jsonb or index row too large
    }
)
POISON_CONSTRAINTS = frozenset(
    {
        "connection_events_kind_check",
        "connection_state_call_check",
        "connection_state_stream_check",
        "poll_cycles_outcome_check",
        "quarantine_sample_check",
        "rejections_occurrences_check",
        "rejections_sample_check",
    }
)
CLIENT_SIDE = "22000"  # for values that never reached the server

RETRY_AFTER_SECONDS = {
    "55P03": 0.1,  # lock_not_available: held for lock_timeout already
    "57014": 1.0,  # query_canceled: statement_timeout
    "57P03": 0.5,  # cannot_connect_now: starting up
    "53300": 1.0,  # too_many_connections
}
MISSING_RIGHT = "42501"
SESSION_UNBOUNDED = "LH001"  # ours, raised by the round trip that opens a session
# Errors of a pooler, or errors that a pooler causes. Waiting does not mend them.
_POOLER_ADVICE = {
    "08P01": (
        "A connection pooler stands before PostgreSQL and does not pass Lastheard's session "
        "settings on."
    ),
    SESSION_UNBOUNDED: "The session's timeouts did not arrive: a connection pooler dropped them.",
    "26000": (
        "A connection pooler hands connections out by the transaction, and prepared statements "
        "are lost."
    ),
    "42P05": (
        "A connection pooler hands connections out by the transaction, and prepared statements "
        "collide."
    ),
}
_POOLER_REMEDY = (
    "Connect to PostgreSQL directly, or pool by the session and give the settings to the role "
    "with ALTER ROLE: "
    "docs/operations.md, PgBouncer"
)
# Errors that only a person can mend, and how.
_REMEDIES = {
    "28000": "Check the user in LASTHEARD_DSN, and the server's pg_hba.conf.",
    "28P01": "Check user and password in LASTHEARD_DSN.",
    "3D000": "Check the name in LASTHEARD_DSN, or create it: CREATE DATABASE … OWNER ….",
    MISSING_RIGHT: (
        "Let the user in LASTHEARD_DSN own the database and its tables: "
        "ALTER DATABASE … OWNER TO …."
    ),
}
_LOST = ("08", "57P")
_AWAY = ("08", "57", "53300", "55P03", "25P03", "25P04", "40")


def is_lost(sqlstate: str | None) -> bool:
    """Return whether the session is gone, or its server may no longer write (25006: demoted)."""
    return sqlstate is not None and (sqlstate == "25006" or sqlstate.startswith(_LOST))


def explain_error(
    sqlstate: str, constraint: str | None, message: str
) -> UnitPoisoned | DatabaseAway | DatabaseRefused:
    """Return our exception for one of PostgreSQL's errors."""
    if sqlstate in POISON_SQLSTATES or constraint in POISON_CONSTRAINTS:
        return UnitPoisoned(sqlstate, message)
    if sqlstate in _POOLER_ADVICE:
        said = message.partition("\n")[0]  # the driver's hint names an option that we do not have
        return DatabaseRefused(
            sqlstate, f"{said}. {_POOLER_ADVICE[sqlstate]} {_POOLER_REMEDY}", permanent=True
        )
    if sqlstate == "25006" or sqlstate.startswith(_AWAY):
        kind = LockTimeout if sqlstate == "55P03" else DatabaseAway
        return kind(f"{sqlstate}: {message}", retry_after=RETRY_AFTER_SECONDS.get(sqlstate, 0.2))
    if sqlstate in _REMEDIES:
        return DatabaseRefused(sqlstate, f"{message}. {_REMEDIES[sqlstate]}", permanent=True)
    return DatabaseRefused(sqlstate, message)
