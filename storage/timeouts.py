"""The bounds in time of one Database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each part of a call may take, in seconds.

    `statement` is shorter than `command`, so that the server's own bound acts first.
    """

    connect: float = 5.0  # opening a connection, over all hosts of the DSN
    acquire: float = 5.0  # waiting for a free connection
    statement: float = 5.0  # a statement, as the server counts
    command: float = 6.0  # a statement, as we count
    lock: float = 2.0  # waiting for a lock, as the server counts
    # Leaving the session clean after a cancelled or failed call, or learning how its COMMIT ended.
    # After that the connection is closed.
    cleanup: float = 1.0


DEFAULT_TIMEOUTS: Final = Timeouts()
