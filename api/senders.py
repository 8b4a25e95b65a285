"""Connections for which clients send data, as facts: once in some seconds for each connection.

Owns how often such a fact goes with a submission, so that a busy sender does not write its
connection's row with every request. Each process counts for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from domain.model import ConnectionFact, ConnectionFactKind

if TYPE_CHECKING:
    from datetime import datetime

    from domain.model import CanonicalUpdate, InvalidItem, Submission

FACT_EVERY_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 10_000  # past that the longest unheard is forgotten: it is told at once


class Senders:
    """When each connection's newest fact was made, in this process."""

    def __init__(self) -> None:
        self._told_at: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def facts_of(self, submission: Submission, now: datetime) -> tuple[ConnectionFact, ...]:
        """Return a fact for each connection of the submission of which none was made lately.

        A connection that is not configured has no row; then the fact comes to nothing.
        """
        items: list[CanonicalUpdate | InvalidItem] = [*submission.updates, *submission.invalid]
        named = dict.fromkeys((item.workspace_id, item.provider_id) for item in items)
        due = [key for key in named if self._is_due(key, now)]
        for key in due:
            self._told_at[key] = now
            self._told_at.move_to_end(key)
        while len(self._told_at) > MAX_CONNECTIONS:
            self._told_at.popitem(last=False)
        return tuple(ConnectionFact(*key, ConnectionFactKind.SENT, now) for key in due)

    def _is_due(self, key: tuple[str, str], now: datetime) -> bool:
        told_at = self._told_at.get(key)
        return told_at is None or abs((now - told_at).total_seconds()) >= FACT_EVERY_SECONDS
