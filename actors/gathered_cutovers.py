"""What the cutover actors read after each cycle, read together for many workspaces.

The cycles of many workspaces are committed in one unit, so their cutover actors wake together. Owns
which of their questions are put together. It must never change an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.gathering import Gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.guardrails import EndedCycle
    from domain.model import Ownership, SessionRef
    from domain.parity import ParityCounts
    from ports.cutovers import CutoversInBulk, StoredCutover
    from ports.guardrails import CycleEndsInBulk, GuardrailFinding, GuardrailStore

MAX_TOGETHER: Final = 200


class _CutoverOf(NamedTuple):
    session: SessionRef
    workspace_id: str


class GatheredCutovers:
    """ports.cutovers.CutoverWatch, for all workspaces of a shard at once."""

    def __init__(self, in_bulk: CutoversInBulk) -> None:
        self._in_bulk = in_bulk
        self._gathered: Gathered[_CutoverOf, StoredCutover | None] = Gathered(
            self._load_all, max_together=MAX_TOGETHER
        )

    async def load_cutover(self, session: SessionRef, workspace_id: str) -> StoredCutover | None:
        return await self._gathered.ask(_CutoverOf(session, workspace_id))

    async def _load_all(self, asked: Sequence[_CutoverOf]) -> list[StoredCutover | None]:
        """Return the cutovers. Of a session that is over, the others' answer is None too.

        That happens for a moment after a rejoin; the next cycle asks again.
        """
        session = max(one.session for one in asked)
        found = await self._in_bulk.load_cutovers(session, [one.workspace_id for one in asked])
        return [found.get(one.workspace_id) if one.session == session else None for one in asked]


class GatheredGuardrails:
    """ports.guardrails.GuardrailStore, which reads cycle ends for all workspaces at once."""

    def __init__(self, alone: GuardrailStore, in_bulk: CycleEndsInBulk) -> None:
        self._alone = alone
        self._in_bulk = in_bulk
        self._gathered: Gathered[tuple[str, int], Sequence[EndedCycle]] = Gathered(
            self._load_all, max_together=MAX_TOGETHER
        )

    async def load_cycle_ends(self, workspace_id: str, limit: int) -> Sequence[EndedCycle]:
        return await self._gathered.ask((workspace_id, limit))

    async def _load_all(self, asked: Sequence[tuple[str, int]]) -> list[Sequence[EndedCycle]]:
        found = await self._in_bulk.load_cycle_ends_of(dict(asked))
        return [found[workspace_id] for workspace_id, _ in asked]

    async def load_comparisons(self, workspace_id: str, limit: int) -> Sequence[ParityCounts]:
        return await self._alone.load_comparisons(workspace_id, limit)

    async def roll_back(
        self, ownership: Ownership, workspace_id: str, finding: GuardrailFinding
    ) -> bool:
        return await self._alone.roll_back(ownership, workspace_id, finding)

    async def record_alert(
        self, ownership: Ownership, workspace_id: str, finding: GuardrailFinding
    ) -> bool:
        return await self._alone.record_alert(ownership, workspace_id, finding)
