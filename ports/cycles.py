"""The records of poll cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.cycles import CycleEnd, CycleKey
    from domain.model import SessionRef


class CycleStart(NamedTuple):
    """Answer to the start of a cycle.

    `started` is False when the slot already has a completed cycle (or the session is fenced).
    `trace_id` and `started_at` are those of the row. A requested cycle has the trace id of its
    request. `started_at` is still to come for a cycle that was recorded before it is due.
    """

    started: bool
    key: CycleKey
    cycle_id: str
    trace_id: str | None = None
    started_at: datetime | None = None


class WantedCycle(NamedTuple):
    """A cycle that is to be recorded, at best a moment before it is due.

    `skipped` is the summary of one that has nothing to collect: it ends as it starts.
    """

    key: CycleKey
    cycle_id: str
    trace_id: str
    due_at: datetime | None = None  # None: at once
    skipped: Mapping[str, Any] | None = None


class CycleHistory(NamedTuple):
    """What a workspace's actor has to know of earlier cycles before it starts one.

    `may_have_orphans`: some are recorded as running, or another transaction is about to record one.
    """

    may_have_orphans: bool
    is_requested: bool  # a run on demand waits
    last_slot: datetime | None  # slot_start_at of the newest one of the schedule


class AbandonedCycle(NamedTuple):
    """A cycle that nobody will end any more, with the end that was recorded for it."""

    trace_id: str
    end: CycleEnd


class CycleStore(Protocol):
    """What the actor of one workspace needs."""

    async def start_cycle(self, session: SessionRef, wanted: WantedCycle) -> CycleStart:
        """Record a cycle as running, or as skipped, unless its slot has a completed one.

        It starts now, or when it is due if that is later; a skipped one when it was due. An attempt
        number that is taken is raised by one.
        """

    async def look_back(self, workspace_id: str) -> CycleHistory:
        """Return what earlier owners have left."""

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


class CyclesInBulk(Protocol):
    """The same for many workspaces, each time in one transaction."""

    async def start_cycles(
        self, session: SessionRef, wanted: Sequence[WantedCycle]
    ) -> Sequence[CycleStart | None]:
        """Record at most one cycle of each workspace.

        None if another transaction has the turn on the workspace's cycles or has taken the attempt,
        and for all of them if the database refuses one. The caller then asks for that cycle alone.
        """

    async def record_all_missed(
        self, session: SessionRef, missed: Mapping[str, Sequence[datetime]]
    ) -> frozenset[str]:
        """Record slots that had no cycle, by workspace; return for which workspaces that was done.

        The others are to be recorded alone, for the reasons of start_cycles.
        """

    async def look_back_at(self, workspace_ids: Sequence[str]) -> Sequence[CycleHistory]:
        """Return the histories in the order of the workspaces. Waits for no other transaction."""
