"""The folding of a unit's facts and cursors into connection rows, which the unit loads and writes.

Owns which fact is an edge, and so gets a row in connection_events. Pure: reads no clock, does no
I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from domain.model import ConnectionFact, ConnectionFactKind, CursorAdvance

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(slots=True)
class ConnectionFold:
    """One row of connection_state while a unit's facts are folded into it, in mailbox order.

    The fields have the order of the columns of lock_connections and write_connections.
    """

    workspace_id: str
    provider_id: str
    call_status: str | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    failing_since: datetime | None
    fault: str | None
    fault_detail: str | None
    stream_status: str | None
    stream_changed_at: datetime | None
    cursor: str | None
    cursor_at: datetime | None
    edges: list[ConnectionFact] = field(default_factory=list)

    def apply(self, fact: ConnectionFact) -> None:
        match fact.kind:
            case ConnectionFactKind.CALL_SUCCEEDED:
                self._succeed(fact)
            case ConnectionFactKind.CALL_FAILED:
                self._fail(fact)
            case ConnectionFactKind.STREAM_OPENED:
                # The provider accepted our credentials and answered. That counts for a stream as a
                # successful call counts for a poll.
                self._succeed(fact._replace(kind=ConnectionFactKind.CALL_SUCCEEDED))
                self._change_stream("open", fact)
            case ConnectionFactKind.STREAM_CLOSED:
                self._change_stream("closed", fact)

    def advance(self, cursor: CursorAdvance, now: datetime) -> None:
        self.cursor, self.cursor_at = cursor.cursor, now

    def row(self) -> tuple[Any, ...]:
        return (
            self.workspace_id,
            self.provider_id,
            self.call_status,
            self.last_success_at,
            self.last_failure_at,
            self.failing_since,
            self.fault,
            self.fault_detail,
            self.stream_status,
            self.stream_changed_at,
            self.cursor,
            self.cursor_at,
        )

    def _succeed(self, fact: ConnectionFact) -> None:
        if self.call_status != "succeeded":
            self.edges.append(fact)
        self.call_status, self.last_success_at, self.failing_since = "succeeded", fact.at, None

    def _fail(self, fact: ConnectionFact) -> None:
        fault = None if fact.fault is None else fact.fault.value
        if self.call_status != "failed" or self.fault != fault:
            self.edges.append(fact)
        self.call_status, self.last_failure_at = "failed", fact.at
        self.failing_since = self.failing_since or fact.at
        self.fault, self.fault_detail = fault, fact.detail

    def _change_stream(self, status: str, fact: ConnectionFact) -> None:
        if self.stream_status != status:
            self.edges.append(fact)
            self.stream_status, self.stream_changed_at = status, fact.at


def edge_rows(folds: Iterable[ConnectionFold]) -> list[tuple[Any, ...]]:
    """Return the rows for connection_events.

    Within each connection they are in the order in which they happened.
    """
    return [
        (
            fact.workspace_id,
            fact.provider_id,
            fact.at,
            fact.kind.value,
            fact.fault and fact.fault.value,
            fact.detail,
        )
        for fold in folds
        for fact in fold.edges
    ]
