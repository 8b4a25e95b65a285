"""The news of connections for which clients send data, as facts: a few in some seconds for each.

Owns how often such a fact is told, so that a busy sender does not write its connection's row with
every request. Each process counts for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from domain.ids import is_id
from domain.model import ConnectionFact, ConnectionFactKind, FaultClass, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.model import CanonicalUpdate, InvalidItem, Result, Submission

    Key = tuple[str, str]  # workspace_id, provider_id

FACT_EVERY: Final = timedelta(seconds=10)
MAX_CONNECTIONS: Final = 10_000  # past that the longest unheard is forgotten: it is told at once
MAX_DEVICES: Final = 2  # whichever of them is asked about, the other one shows that data comes


@dataclass(slots=True)
class _Told:
    """When the newest facts about one connection were told."""

    sent_at: datetime | None = None
    unreadable_at: datetime | None = None
    data_at: dict[str, datetime] = field(default_factory=dict)  # by device_id

    def takes(self, device_id: str, now: datetime) -> bool:
        """Return whether the device's data is to be told now, and note it."""
        self.data_at = {name: at for name, at in self.data_at.items() if not _is_due(at, now)}
        if len(self.data_at) >= MAX_DEVICES or device_id in self.data_at:
            return False
        self.data_at[device_id] = now
        return True


def _is_due(told_at: datetime | None, now: datetime) -> bool:
    return told_at is None or abs(now - told_at) >= FACT_EVERY


class Senders:
    """When each connection's newest facts were told, in this process."""

    def __init__(self) -> None:
        self._told: OrderedDict[Key, _Told] = OrderedDict()

    def facts_of(self, submission: Submission, now: datetime) -> tuple[ConnectionFact, ...]:
        """Return `sent` for each connection of the submission of which it was not told lately.

        A connection that is not configured has no row; then the fact comes to nothing.
        """
        items: list[CanonicalUpdate | InvalidItem] = [*submission.updates, *submission.invalid]
        named = dict.fromkeys((item.workspace_id, item.provider_id) for item in items)
        facts = []
        for key in named:
            # The ids of an invalid item may be any text, also one that no statement can carry.
            if is_id(key[0]) and is_id(key[1]):
                told = self._of(key)
                if _is_due(told.sent_at, now):
                    told.sent_at = now
                    facts.append(ConnectionFact(*key, ConnectionFactKind.SENT, now))
        return tuple(facts)

    def data_of(
        self, submission: Submission, results: Sequence[Result], now: datetime
    ) -> tuple[ConnectionFact, ...]:
        """Return `data` for the devices whose data came: for two of each connection in ten seconds.

        `results` are those of the updates, since only they say which device an update is of. A fact
        has the data's own time of arrival: devices of one request do not answer for each other.
        """
        facts = []
        full: set[Key] = set()  # connections of which no more is told now
        for update, result in zip(submission.updates, results, strict=True):
            key = (update.workspace_id, update.provider_id)
            device_id = result.device_id
            if key in full or device_id is None or not _is_of_connection(result):
                continue
            told = self._of(key)
            if told.takes(device_id, now):
                fact = ConnectionFact(*key, ConnectionFactKind.DATA, update.received_at)
                facts.append(fact._replace(device_id=device_id))
            if len(told.data_at) == MAX_DEVICES:
                full.add(key)
        return tuple(facts)

    def unreadable(self, key: Key, detail: str, now: datetime) -> tuple[ConnectionFact, ...]:
        """Return the fact that a message could not be read, if it was not told lately.

        The next data is told at once: it shows that messages can be read again.
        """
        told = self._of(key)
        if not _is_due(told.unreadable_at, now):
            return ()
        told.unreadable_at = now
        told.data_at.clear()
        kind = ConnectionFactKind.UNREADABLE
        return (ConnectionFact(*key, kind, now, FaultClass.PROTOCOL, detail),)

    def _of(self, key: Key) -> _Told:
        told = self._told.setdefault(key, _Told())
        self._told.move_to_end(key)
        if len(self._told) > MAX_CONNECTIONS:
            self._told.popitem(last=False)
        return told


def _is_of_connection(result: Result) -> bool:
    """Return whether the connection brought data of its own device.

    What a client sends for a device of another connection is an identity conflict. An update on
    which the rules crashed has the device_id that the client gave.
    """
    is_conflict = result.reason is Reason.IDENTITY_CONFLICT
    return not is_conflict and result.outcome is not Outcome.QUARANTINED
