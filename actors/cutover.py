"""The cutover actor of a workspace: what is to be done after each cycle of its schedule.

Owns the order of the steps and what a failure costs: that step, of that cycle. The steps themselves
are in files of their own, and cutover_steps.py lists them. It must never hold up a cycle, nor run
beside another cutover actor of its workspace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

from actors.statistics import CutoverStatistics
from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.cycle_ends import EndedRun
    from actors.fleet import FleetView
    from actors.sides import BothSides, SidesReader
    from domain.cutover import Cutover
    from domain.model import SessionRef
    from ports.cutovers import CutoverWatch, StoredCutover

LOAD_SECONDS: Final = 10.0


class AfterCycle:
    """One ended cycle, and what its steps read: both sides are read once for all of them."""

    def __init__(self, ended: EndedRun, stored: StoredCutover, reader: SidesReader) -> None:
        self.ended = ended
        self.stored = stored
        self._reader = reader
        self._sides: BothSides | None = None

    async def load_sides(self) -> BothSides:
        """Return what both systems show. Raises DatabaseAway."""
        if self._sides is None:
            self._sides = await self._reader.load(self.stored.draft.legacy)
        return self._sides


class CutoverStep(Protocol):
    """One thing to do after a cycle. `name` is for logs and statistics."""

    @property
    def name(self) -> str: ...

    @property
    def deadline_seconds(self) -> float: ...

    def concerns(self, flags: Cutover) -> bool:
        """Return whether there is anything to do after a cycle under these flags."""

    async def run(self, after: AfterCycle) -> bool:
        """Do it; return whether anything was done. Raises EnvironmentFault."""


class CutoverActor:
    """Takes the steps after each ended cycle, one cycle after the other, until it is cancelled."""

    def __init__(
        self,
        view: FleetView,
        session: SessionRef,
        watch: CutoverWatch,
        reader: SidesReader,
        steps: Sequence[CutoverStep],
    ) -> None:
        self._view = view
        self._session = session
        self._watch = watch
        self._reader = reader
        self._steps = steps
        self._log = get_logger("cutover").bind(workspace_id=view.workspace_id)
        self._edge = EdgeLog(self._log, "cutover")
        self._edges = {one.name: EdgeLog(self._log, f"cutover_{one.name}") for one in steps}
        self._cycles = 0
        self._done = {one.name: 0 for one in steps}

    async def run(self) -> None:
        """Wait for ended cycles, and take the steps after each. Ends only by cancellation."""
        while True:
            ended = await self._view.ends.take()
            steps = self._find_steps(ended)
            if not steps:
                self._edge.recovered()  # nothing needs to be read
                continue
            stored = await self._load()
            if stored is not None and stored.draft.flags == ended.flags:
                self._cycles += 1
                await self._take_steps(steps, AfterCycle(ended, stored, self._reader))

    def _find_steps(self, ended: EndedRun) -> list[CutoverStep]:
        """Return the steps that the cycle's flags concern. A trouble of the others is over."""
        steps = []
        for step in self._steps:
            if step.concerns(ended.flags):
                steps.append(step)
            else:
                self._edges[step.name].recovered()
        return steps

    async def _load(self) -> StoredCutover | None:
        """Return the cutover as it is now.

        None if the session is over or the database is away: the next cycle tries again. Of a cycle
        that ran under other flags nothing can be said.
        """
        workspace_id = self._view.workspace_id
        with trio.move_on_after(LOAD_SECONDS) as scope:
            try:
                stored = await self._watch.load_cutover(self._session, workspace_id)
            except EnvironmentFault as fault:
                self._edge.failed(fault)
                return None
        if scope.cancelled_caught:
            self._edge.failed(f"not loaded within {LOAD_SECONDS:g} s")
            return None
        self._edge.recovered()
        return stored

    async def _take_steps(self, steps: Sequence[CutoverStep], after: AfterCycle) -> None:
        """Take each step, also after one that failed.

        A bug in a step crashes the actor, but after the others: guardrails must not end with a
        comparison.
        """
        bugs: list[Exception] = []
        for step in steps:
            try:
                await self._take(step, after)
            except Exception as bug:
                bugs.append(bug)
        if bugs:
            raise bugs[0]

    async def _take(self, step: CutoverStep, after: AfterCycle) -> None:
        edge = self._edges[step.name]
        with trio.move_on_after(step.deadline_seconds) as scope:
            try:
                self._done[step.name] += await step.run(after)
            except EnvironmentFault as fault:
                edge.failed(fault)
                return
        if scope.cancelled_caught:
            edge.failed(f"not done within {step.deadline_seconds:g} s")
        else:
            edge.recovered()

    def statistics(self) -> CutoverStatistics:
        return CutoverStatistics(
            cycles=self._cycles,
            done=dict(self._done),
            failing=tuple(name for name, edge in self._edges.items() if edge.is_failing),
        )
