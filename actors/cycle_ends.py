"""Cycles that have ended, from the cycle to the cutover actor of its workspace.

Owns the one place in between. It holds the newest end only: whoever looks at the fleet after a
cycle has no use for the one before. It must never make a cycle wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runtime.flag import Flag

if TYPE_CHECKING:
    from datetime import datetime

    from domain.cutover import Cutover


class EndedRun(NamedTuple):
    """A cycle of the schedule whose outcome is committed, with the flags under which it ran."""

    slot_start_at: datetime
    cycle_id: str
    trace_id: str
    flags: Cutover


class CycleEnds:
    """The newest ended cycle of a workspace that nobody has taken yet."""

    __slots__ = ("_arrived", "_newest")

    def __init__(self) -> None:
        self._newest: EndedRun | None = None
        self._arrived = Flag()

    def note(self, ended: EndedRun) -> None:
        """Put it in the place of one that was not taken. Never blocks and never raises."""
        self._newest = ended
        self._arrived.set()

    def forget(self) -> None:
        """Leave out what was not taken: nobody was to look at the fleet after it."""
        self._newest = None

    async def take(self) -> EndedRun:
        """Return the newest end as soon as there is one.

        No deadline: a workspace without a place in the schedule has no cycles.
        """
        while (newest := self._newest) is None:
            await self._arrived.wait()
            self._arrived.clear()
        self._newest = None
        return newest
