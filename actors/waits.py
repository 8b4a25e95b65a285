"""How long providers have asked not to be called, by connection.

Owns the answer to "may this connection be called now?" for everything in this process: cycles note
what they are asked for, trials only look. A connection that was configured anew may be called at
once: it may be another account or address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

MAX_WAITS = 1000  # before those that have ended are dropped

if TYPE_CHECKING:
    from domain.model import ProviderConnection


class ProviderWaits:
    """The waits that have not ended. There is at most one for each connection."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], tuple[ProviderConnection, float]] = {}  # monotonic

    def postpone(self, connection: ProviderConnection, retry_after: float | None) -> None:
        """Do not call this provider again for `retry_after` seconds. None changes nothing."""
        if retry_after is None:
            return
        if len(self._until) >= MAX_WAITS:
            self._drop_ended()
        self._until[_name(connection)] = connection, trio.current_time() + retry_after

    def _drop_ended(self) -> None:
        """Drop waits that have ended, also of connections that are not there any more.

        Those that have not ended stay: the provider that is called too early may lock the account.
        """
        now = trio.current_time()
        self._until = {name: wait for name, wait in self._until.items() if wait[1] > now}

    def waiting_seconds(self, connection: ProviderConnection) -> float:
        """Return for how many more seconds this provider must not be called; 0 if it may be."""
        postponed, until = self._until.get(_name(connection), (None, 0.0))
        seconds = until - trio.current_time()
        if postponed is not None and (seconds <= 0 or postponed != connection):
            del self._until[_name(connection)]
        return max(0.0, seconds) if postponed == connection else 0.0

    def __len__(self) -> int:
        return len(self._until)


def _name(connection: ProviderConnection) -> tuple[str, str]:
    return connection.workspace_id, connection.provider_id
