"""A server that does not answer is said in words, without the numbers of the system."""

from __future__ import annotations

import asyncpg
import pytest

from storage.driver_errors import translate
from storage.faults import DatabaseAway

REFUSED = "[Errno 111] Connect call failed ('127.0.0.1', 9)"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), " in time"),
        (TimeoutError("timed out"), ": timed out"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)"), f": {REFUSED[12:]}"),
        (OSError(f"Multiple exceptions: {REFUSED}, {REFUSED}"), None),
        (ConnectionResetError(), ": ConnectionResetError"),
        (
            asyncpg.InterfaceError("connection is closed"),
            ": InterfaceError: connection is closed",
        ),
    ],
)
def test_a_server_that_does_not_answer_is_said_in_words(error: Exception, said: str | None) -> None:
    told = translate(error)
    assert isinstance(told, DatabaseAway)
    expected = f": Multiple exceptions: {REFUSED[12:]}, {REFUSED[12:]}" if said is None else said
    assert str(told) == f"PostgreSQL does not answer{expected}"
