"""What an open stream brings, as facts about its connection: whose data, and steadiness.

Owns how often such a fact is submitted, so that a busy stream writes its connection's row once in
some seconds and not with every window. Does no I/O and reads no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from domain.model import ConnectionFact, ConnectionFactKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.model import CanonicalUpdate

FACTS_EVERY_SECONDS: Final = 10.0
STEADY_AFTER_SECONDS: Final = 60.0  # a stream that was open this long and brought data is steady


class StreamNews:
    """The news of one stream since its last facts. `now` and `opened` are monotonic.

    Of the devices whose data came, two are kept: whichever of them is asked about, the other one
    shows that the stream works.
    """

    def __init__(self, workspace_id: str, provider_id: str) -> None:
        self._address = (workspace_id, provider_id)
        self._data_at: dict[str, datetime] = {}  # by device_id, newest last
        self._told = float("-inf")
        self._opened = float("inf")
        self._brought_data = False
        self._is_steady = False

    def note_open(self, opened: float) -> None:
        """Note that a connection was opened. Its first data is told at once."""
        self._opened, self._told = opened, float("-inf")
        self._brought_data = self._is_steady = False

    def note_data(self, updates: Sequence[CanonicalUpdate]) -> None:
        """Note data that is about to be submitted: the first and the last of known devices.

        Mostly it looks at two updates, whatever their number.
        """
        for ordered in (updates, reversed(updates)):
            known = (update for update in ordered if update.device_id is not None)
            if (update := next(known, None)) is not None:
                device_id = str(update.device_id)
                self._data_at.pop(device_id, None)
                self._data_at[device_id] = update.received_at
                self._brought_data = True
        while len(self._data_at) > 2:
            del self._data_at[next(iter(self._data_at))]

    def take_due(self, now: float, at: datetime) -> tuple[ConnectionFact, ...]:
        """Return the facts that are due, at most every ten seconds; mostly none.

        That a stream is steady is told once. `at` is the present in database time.
        """
        facts = []
        if now - self._told >= FACTS_EVERY_SECONDS and self._data_at:
            facts += self._take_news()
            self._told = now
        if self._brought_data and not self._is_steady:
            self._is_steady = now - self._opened >= STEADY_AFTER_SECONDS
            if self._is_steady:
                facts.append(self._fact(ConnectionFactKind.STREAM_STEADY, at))
        return tuple(facts)

    def _take_news(self) -> list[ConnectionFact]:
        news = [
            self._fact(ConnectionFactKind.DATA, data_at)._replace(device_id=device_id)
            for device_id, data_at in self._data_at.items()
        ]
        self._data_at.clear()
        return news

    def _fact(self, kind: ConnectionFactKind, at: datetime) -> ConnectionFact:
        return ConnectionFact(*self._address, kind, at)
