"""What guardrails look at in the database, and what they write into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.guardrails import Crossing, EndedCycle
    from domain.model import Ownership
    from domain.parity import ParityCounts


class GuardrailFinding(NamedTuple):
    """What was found after a cycle. `cutover_revision` is that of the cutover that was judged.

    `why_not` says why the guardrails only alert; None if they act.
    """

    cycle_id: str
    trace_id: str
    cutover_revision: int
    crossings: Sequence[Crossing]
    why_not: str | None = None


class GuardrailStore(Protocol):
    """The guardrails of the workspace that this shard owns.

    A command writes nothing, and returns False, if the session is over or the workspace's lease is
    no longer that of `ownership`.
    """

    async def load_cycle_ends(self, workspace_id: str, limit: int) -> Sequence[EndedCycle]:
        """Return how the newest slots of the schedule ended, newest first.

        Slots with nothing to collect are left out, and those of before other providers were asked.
        """

    async def load_comparisons(self, workspace_id: str, limit: int) -> Sequence[ParityCounts]:
        """Return what the newest comparisons counted, newest first, one a slot."""

    async def roll_back(
        self, ownership: Ownership, workspace_id: str, finding: GuardrailFinding
    ) -> bool:
        """Give reads and polls to the legacy system, and record why, in one transaction.

        Returns False, too, if the cutover has changed since it was judged. May be sent again.
        """

    async def record_alert(
        self, ownership: Ownership, workspace_id: str, finding: GuardrailFinding
    ) -> bool:
        """Record that guardrails did not act, and why.

        Returns False, too, if the same was recorded within the last hour.
        """


class CycleEndsInBulk(Protocol):
    """The cycle ends of many workspaces at once."""

    async def load_cycle_ends_of(
        self, limits: Mapping[str, int]
    ) -> Mapping[str, Sequence[EndedCycle]]:
        """Return, for each workspace, as many of its cycle ends as its limit says."""
