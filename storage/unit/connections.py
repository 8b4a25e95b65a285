"""The folding of a unit's facts and cursors into connection rows, which the unit loads and writes.

Owns which fact is an edge, and so gets a row in connection_events. Pure: reads no clock, does no
I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

from domain.model import ConnectionFact, ConnectionFactKind, CursorAdvance
from storage.unit.connection_edges import edges_between
from storage.unit.rows import ConnectionEdgeRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from storage.unit.rows import ConnectionRow


@dataclass(slots=True)
class ConnectionFold:
    """One row of connection_state while a unit's facts are folded into it, in mailbox order.

    `before` is the row as it was locked.
    """

    row: ConnectionRow
    edges: list[ConnectionFact] = field(default_factory=list)
    before: ConnectionRow = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.row

    def apply(self, fact: ConnectionFact) -> None:
        kinds = ConnectionFactKind
        match fact.kind:
            case kinds.CALL_SUCCEEDED:
                self._succeed(fact)
            case kinds.CALL_FAILED:
                self._fail(fact)
            case kinds.STREAM_OPENED:
                self._change_stream("open", fact)
            case kinds.STREAM_CLOSED:
                self._change_stream("closed", fact)
            case kinds.STREAM_FAILED:
                self._fail_stream(fact)
            case kinds.STREAM_STEADY:
                if self.row.stream_down_since is not None:
                    self.edges.append(fact)
                self._set(stream_fault=None, stream_fault_detail=None, stream_down_since=None)
            case kinds.COMPLETE:
                if _is_newer(fact, self.row.complete_begun_at):
                    self._set(complete_begun_at=_begun_at(fact), complete_at=fact.at)
            case kinds.ROSTER:
                if _is_newer(fact, self.row.roster_begun_at):
                    self._set(roster_begun_at=_begun_at(fact), roster_at=fact.at)
            case kinds.NOT_ASKED:
                self._set(not_asked_at=fact.at)
            case kinds.DATA:
                self._note_data(fact)
            case kinds.READABLE:
                self._set(readable_at=_later(self.row.readable_at, fact.at))
            case kinds.UNREADABLE:
                self._set(unreadable_at=_later(self.row.unreadable_at, fact.at))
            case kinds.SENT:
                self._set(sender_at=_later(self.row.sender_at, fact.at))
            case _:
                assert_never(fact.kind)

    def advance(self, cursor: CursorAdvance, now: datetime) -> None:
        self.row = self.row._replace(cursor=cursor.cursor, cursor_at=now)

    def _set(self, **columns: Any) -> None:
        self.row = self.row._replace(**columns)

    def _end_call(self, fact: ConnectionFact) -> None:
        self._set(call_begun_at=_begun_at(fact), call_ended_at=fact.at, not_asked_at=None)

    def _succeed(self, fact: ConnectionFact) -> None:
        if self.row.call_status != "succeeded":
            self.edges.append(fact)
        self._set(call_status="succeeded", last_success_at=fact.at, failing_since=None)
        self._end_call(fact)

    def _fail(self, fact: ConnectionFact) -> None:
        fault = _name_of(fact)
        if self.row.call_status != "failed" or self.row.fault != fault:
            self.edges.append(fact)
        self._set(
            call_status="failed",
            last_failure_at=fact.at,
            failing_since=self.row.failing_since or fact.at,
            fault=fault,
            fault_detail=fact.detail,
        )
        self._end_call(fact)

    def _change_stream(self, status: str, fact: ConnectionFact) -> None:
        """Note that the socket was opened, or closed by us.

        The fault of the last socket stays until the new one is steady.
        """
        if self.row.stream_status != status:
            self.edges.append(fact)
            self._set(stream_status=status, stream_changed_at=fact.at)

    def _fail_stream(self, fact: ConnectionFact) -> None:
        """Note that the socket was lost, or could not be opened: a closed stream with a fault."""
        fault = _name_of(fact)
        if self.row.stream_status != "closed":
            self._set(stream_status="closed", stream_changed_at=fact.at)
            self.edges.append(fact._replace(kind=ConnectionFactKind.STREAM_CLOSED))
        elif self.row.stream_down_since is None or self.row.stream_fault != fault:
            self.edges.append(fact._replace(kind=ConnectionFactKind.STREAM_CLOSED))
        self._set(
            stream_fault=fault,
            stream_fault_detail=fact.detail,
            stream_down_since=self.row.stream_down_since or fact.at,
        )

    def _note_data(self, fact: ConnectionFact) -> None:
        """Keep when the newest data came and of which device, and the newest of any other device.

        Data could be read, so the connection is readable.
        """
        row = self.row
        if row.data_at is not None and row.data_device_id != fact.device_id:
            if fact.at < row.data_at:
                self._set(other_data_at=_later(row.other_data_at, fact.at))
            else:
                self._set(data_at=fact.at, data_device_id=fact.device_id, other_data_at=row.data_at)
        else:
            self._set(data_at=_later(row.data_at, fact.at), data_device_id=fact.device_id)
        self._set(readable_at=_later(row.readable_at, fact.at))


def _begun_at(fact: ConnectionFact) -> datetime:
    return fact.begun_at or fact.at


def _is_newer(fact: ConnectionFact, begun_at: datetime | None) -> bool:
    return begun_at is None or _begun_at(fact) >= begun_at


def _later(stored: datetime | None, at: datetime) -> datetime:
    return at if stored is None else max(stored, at)


def _name_of(fact: ConnectionFact) -> str | None:
    return None if fact.fault is None else fact.fault.value


def edge_rows(folds: Iterable[ConnectionFold]) -> list[ConnectionEdgeRow]:
    """Return the rows for connection_events.

    Calls and sockets of each connection are in the order in which they happened; what follows from
    its row as a whole comes after them.
    """
    rows: list[ConnectionEdgeRow] = []
    for fold in folds:
        rows += map(_edge_row, fold.edges)
        rows += edges_between(fold.before, fold.row)
    return rows


def _edge_row(fact: ConnectionFact) -> ConnectionEdgeRow:
    return ConnectionEdgeRow(
        workspace_id=fact.workspace_id,
        provider_id=fact.provider_id,
        at=fact.at,
        kind=fact.kind.value,
        fault=_name_of(fact),
        detail=fact.detail,
    )
