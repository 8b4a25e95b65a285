"""The folding of a unit's facts and cursors into connection rows, which the unit loads and writes.

Owns which fact is an edge, and so gets a row in connection_events. Pure: reads no clock, does no
I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.model import ConnectionFact, ConnectionFactKind, CursorAdvance
from storage.unit_rows import ConnectionEdgeRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from storage.unit_rows import ConnectionRow


@dataclass(slots=True)
class ConnectionFold:
    """One row of connection_state while a unit's facts are folded into it, in mailbox order."""

    row: ConnectionRow
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
        self.row = self.row._replace(cursor=cursor.cursor, cursor_at=now)

    def _succeed(self, fact: ConnectionFact) -> None:
        if self.row.call_status != "succeeded":
            self.edges.append(fact)
        self.row = self.row._replace(
            call_status="succeeded", last_success_at=fact.at, failing_since=None
        )

    def _fail(self, fact: ConnectionFact) -> None:
        fault = None if fact.fault is None else fact.fault.value
        if self.row.call_status != "failed" or self.row.fault != fault:
            self.edges.append(fact)
        self.row = self.row._replace(
            call_status="failed",
            last_failure_at=fact.at,
            failing_since=self.row.failing_since or fact.at,
            fault=fault,
            fault_detail=fact.detail,
        )

    def _change_stream(self, status: str, fact: ConnectionFact) -> None:
        if self.row.stream_status != status:
            self.edges.append(fact)
            self.row = self.row._replace(stream_status=status, stream_changed_at=fact.at)


def edge_rows(folds: Iterable[ConnectionFold]) -> list[ConnectionEdgeRow]:
    """Return the rows for connection_events.

    Within each connection they are in the order in which they happened.
    """
    return [
        ConnectionEdgeRow(
            workspace_id=fact.workspace_id,
            provider_id=fact.provider_id,
            at=fact.at,
            kind=fact.kind.value,
            fault=fact.fault and fact.fault.value,
            detail=fact.detail,
        )
        for fold in folds
        for fact in fold.edges
    ]
