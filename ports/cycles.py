"""The records of poll cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.cycles import CycleEnd, CycleKey
    from domain.model import SessionRef


class CycleStart(NamedTuple):
    """Answer to the start of a cycle.

    `started` is False when the slot already has a completed cycle (or the session is fenced).
    `trace_id` and `started_at` are those of the row. A requested cycle has the trace id of its
    request.
    """

    started: bool
    key: CycleKey
    cycle_id: str
    trace_id: str | None = None
    started_at: datetime | None = None


class AbandonedCycle(NamedTuple):
    """A cycle that nobody will end any more, with the end that was recorded for it."""

    trace_id: str
    end: CycleEnd


class CycleStore(Protocol):
    async def start_cycle(
        self, session: SessionRef, key: CycleKey, cycle_id: str, trace_id: str
    ) -> CycleStart:
        """Record a running cycle, unless its slot has a completed one.

        An attempt number that is taken is raised by one.
        """

    async def record_missed(
        self, session: SessionRef, workspace_id: str, slots: Sequence[datetime]
    ) -> None:
        """Record slots that had no cycle. Slots that already have a row are left alone."""

    async def abandon_orphans(
        self, session: SessionRef, workspace_id: str
    ) -> Sequence[AbandonedCycle]:
        """Mark the running cycles of this workspace abandoned; return them.

        Only the workspace's owner may call this, and only while it runs no cycle.
        """

    async def load_last_slot(self, workspace_id: str) -> datetime | None:
        """Return slot_start_at of the newest recorded cycle."""

    async def find_silent_connections(
        self, workspace_id: str, stale_after_seconds: Mapping[str, float]
    ) -> frozenset[str]:
        """Return those of these connections with an active device that is stale or was never heard.

        The limits are by provider_id.
        """

    async def take_requested_cycle(
        self, session: SessionRef, workspace_id: str, config_version: int
    ) -> CycleStart | None:
        """Turn the oldest requested (run now) cycle into a running one, and return it.

        Returns None if no cycle is requested, if the session is fenced, or if the configuration is
        no longer that of `config_version`: the person who asked for the run may have configured
        something just before.
        """
