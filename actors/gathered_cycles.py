"""The cycles of many workspaces, recorded together: what their actors ask, in few transactions.

Owns which questions are put together, and the way out when one workspace would hold up others: it
is asked about alone. It must never change what an actor is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.gathering import Gathered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import SessionRef
    from ports.cycles import (
        AbandonedCycle,
        CycleHistory,
        CyclesInBulk,
        CycleStart,
        CycleStore,
        WantedCycle,
    )

MAX_STARTS_TOGETHER: Final = 200
MAX_MISSED_TOGETHER: Final = 20  # each brings up to 12 slots, and each slot asks for all devices
MAX_LOOKS_TOGETHER: Final = 500
# Actors that wake at the same instant do so within a few passes of the event loop.
PAUSE_SECONDS: Final = 0.01
SKIP_PAUSE_SECONDS: Final = 0.5  # a cycle that collects nothing may be recorded a little later


class _Start(NamedTuple):
    session: SessionRef
    wanted: WantedCycle


class _Missed(NamedTuple):
    session: SessionRef
    workspace_id: str
    slots: Sequence[datetime]


class GatheredCycles:
    """ports.cycles.CycleStore, for all workspaces of a shard at once."""

    def __init__(self, alone: CycleStore, in_bulk: CyclesInBulk) -> None:
        self._alone = alone
        self._in_bulk = in_bulk
        self._starts: Gathered[_Start, CycleStart | None] = Gathered(
            self._start_all, max_together=MAX_STARTS_TOGETHER, pause_seconds=PAUSE_SECONDS
        )
        self._skips: Gathered[_Start, CycleStart | None] = Gathered(
            self._start_all, max_together=MAX_STARTS_TOGETHER, pause_seconds=SKIP_PAUSE_SECONDS
        )
        self._missed: Gathered[_Missed, bool] = Gathered(
            self._record_all_missed, max_together=MAX_MISSED_TOGETHER, pause_seconds=PAUSE_SECONDS
        )
        self._looks: Gathered[str, CycleHistory] = Gathered(
            in_bulk.look_back_at, max_together=MAX_LOOKS_TOGETHER, pause_seconds=PAUSE_SECONDS
        )

    async def start_cycle(self, session: SessionRef, wanted: WantedCycle) -> CycleStart:
        gathered = self._starts if wanted.skipped is None else self._skips
        start = await gathered.ask(_Start(session, wanted))
        return start or await self._alone.start_cycle(session, wanted)

    async def _start_all(self, starts: Sequence[_Start]) -> list[CycleStart | None]:
        """Record them in one transaction; None for those that have to be asked for alone."""
        wanted = [start.wanted for start in starts]
        sessions = {start.session for start in starts}
        if len(sessions) > 1:  # for a moment after a rejoin
            return [None] * len(starts)
        return list(await self._in_bulk.start_cycles(sessions.pop(), wanted))

    async def look_back(self, workspace_id: str) -> CycleHistory:
        return await self._looks.ask(workspace_id)

    async def record_missed(
        self, session: SessionRef, workspace_id: str, slots: Sequence[datetime]
    ) -> None:
        if not await self._missed.ask(_Missed(session, workspace_id, slots)):
            await self._alone.record_missed(session, workspace_id, slots)

    async def _record_all_missed(self, missed: Sequence[_Missed]) -> list[bool]:
        """Record them in one transaction; False for those that have to be recorded alone."""
        session = max(one.session for one in missed)
        ours = {one.workspace_id: one.slots for one in missed if one.session == session}
        done = await self._in_bulk.record_all_missed(session, ours)
        return [one.session == session and one.workspace_id in done for one in missed]

    async def abandon_orphans(
        self, session: SessionRef, workspace_id: str
    ) -> Sequence[AbandonedCycle]:
        return await self._alone.abandon_orphans(session, workspace_id)

    async def find_silent_connections(
        self, workspace_id: str, stale_after_seconds: Mapping[str, float]
    ) -> frozenset[str]:
        return await self._alone.find_silent_connections(workspace_id, stale_after_seconds)

    async def take_requested_cycle(
        self, session: SessionRef, workspace_id: str, config_version: int
    ) -> CycleStart | None:
        return await self._alone.take_requested_cycle(session, workspace_id, config_version)
