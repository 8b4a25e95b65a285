"""Quarantine: updates that PostgreSQL refused or that a rule crashed on, and their replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.changes import Author
    from domain.model import CanonicalUpdate, Origin, Result


class QuarantineEntry(NamedTuple):
    """One entry, with the first 4 kB of its sample.

    `is_whole`: all of the update is kept, so it can be replayed. `origin` is None for an entry that
    an older release wrote. The members of the replay are None until there was one. They are those
    of the replay that was accepted, or else of the newest one.
    """

    quarantine_id: int
    recorded_at: datetime
    origin: Origin | None
    provider_id: str | None
    device_id: str | None
    external_id: str | None
    reason: str
    detail: str | None
    trace_id: str
    sample: bytes | None
    is_whole: bool
    replayed_at: datetime | None
    replayed_by: str | None
    replay_outcome: str | None
    replay_reason: str | None
    replay_detail: str | None


class QuarantinedUpdate(NamedTuple):
    """What a replay needs of an entry. `update` is None if the whole of it was not kept."""

    origin: Origin | None
    update: CanonicalUpdate | None


class Quarantine(Protocol):
    async def list_quarantine(
        self, workspace_id: str, *, before: int | None, limit: int
    ) -> Sequence[QuarantineEntry]:
        """Return entries of the workspace, newest first. `before` is the last id of a page."""
        ...

    async def find_update(self, workspace_id: str, quarantine_id: int) -> QuarantinedUpdate | None:
        """Return None if the workspace has no such entry."""
        ...

    async def note_replay(
        self, workspace_id: str, quarantine_id: int, result: Result, *, by: Author
    ) -> None:
        """Mark the entry as replayed, and write the replay to the history of changes.

        The mark of a replay that was accepted stays.
        """
        ...
