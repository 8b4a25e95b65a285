"""Edges of connections that follow from the stored row: what held before a unit, and what after.

Owns which change of a connection's facts gets a row in connection_events, beside calls and sockets
(unit_connections.py). The first word of a kind names the fact; an edge holds until the next one of
the same fact. Rosters and senders have no end of their own, so they have an edge after a pause. A
fleet that works writes none. Pure: reads no clock, does no I/O.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from storage.unit.rows import ConnectionEdgeRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from storage.unit.rows import ConnectionRow

    KindAt = tuple[str, datetime | None, str | None]  # kind, instant, detail

MAX_ROSTER_PAUSE: Final = timedelta(days=1)  # rosters are asked for every 12 h at least
MAX_SENDER_PAUSE: Final = timedelta(minutes=15)  # the stale threshold unless a policy changes it


def edges_between(before: ConnectionRow, after: ConnectionRow) -> Iterator[ConnectionEdgeRow]:
    """Yield a row for each fact that became another one."""
    for kind, at, detail in _changes(before, after):
        if at is not None:
            yield ConnectionEdgeRow(after.workspace_id, after.provider_id, at, kind, None, detail)


def _changes(before: ConnectionRow, after: ConnectionRow) -> Iterator[KindAt]:
    if before.not_asked_at is None and after.not_asked_at is not None:
        yield "cycle_not_asked", after.not_asked_at, None
    elif before.not_asked_at is not None and after.not_asked_at is None:
        yield "cycle_asked", after.call_ended_at, None
    if _is_complete(before) != _is_complete(after):
        kind = "answer_complete" if _is_complete(after) else "answer_incomplete"
        yield kind, after.call_ended_at, None
    if _is_unreadable(before) != _is_unreadable(after):
        if _is_unreadable(after):
            yield "data_unreadable", after.unreadable_at, None
        else:
            yield "data_readable", after.readable_at, None
    if _has_paused(before.roster_at, after.roster_at, MAX_ROSTER_PAUSE):
        yield "roster_answered", after.roster_at, _since(before.roster_at)
    if _has_paused(before.sender_at, after.sender_at, MAX_SENDER_PAUSE):
        yield "sender_returned", after.sender_at, _since(before.sender_at)


def _is_complete(row: ConnectionRow) -> bool:
    """Return whether the newest call that ended gave a complete answer."""
    begun_at, complete_at = row.call_begun_at, row.complete_begun_at
    return begun_at is not None and complete_at is not None and complete_at >= begun_at


def _is_unreadable(row: ConnectionRow) -> bool:
    """Return whether the newest thing that came could not be read at all."""
    unreadable_at, readable_at = row.unreadable_at, row.readable_at
    return unreadable_at is not None and (readable_at is None or unreadable_at > readable_at)


def _has_paused(before: datetime | None, after: datetime | None, limit: timedelta) -> bool:
    """Return whether the fact came for the first time, or again after a pause."""
    return after is not None and (before is None or after - before > limit)


def _since(before: datetime | None) -> str | None:
    return None if before is None else f"after a pause since {before.isoformat()}"
