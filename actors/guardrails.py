"""The guardrails of a workspace that reads core, judged after each cycle.

Owns what they are shown; domain/guardrails.py has the limits. A rollback is one transaction of the
store, which refuses it unless this shard still owns the workspace. It must never act for a legacy
system that does not answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from domain.cutover import ReadOwner
from domain.guardrails import DeviceAge, Sight, find_lasting_mismatch, judge
from ports.guardrails import GuardrailFinding
from runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from actors.cutover import AfterCycle
    from actors.sides import BothSides, DevicePair
    from domain.cutover import Cutover
    from domain.guardrails import Judgement
    from domain.model import Ownership
    from domain.parity import DeviceView
    from ports.guardrails import GuardrailStore
    from runtime.clock import SharedClock

COMPARISONS_SEEN: Final = 6  # of which three that were comparable are judged


class GuardrailStep:
    """actors.cutover.CutoverStep: rolls back, or alerts, when a limit is crossed."""

    name: Final = "guard"
    deadline_seconds: Final = 20.0

    def __init__(self, ownership: Ownership, store: GuardrailStore, clock: SharedClock) -> None:
        self._ownership = ownership
        self._store = store
        self._clock = clock
        self._log = get_logger("guardrails")

    def concerns(self, flags: Cutover) -> bool:
        return flags.read_owner is ReadOwner.CORE

    async def run(self, after: AfterCycle) -> bool:
        stored = after.stored
        sight = await self._look(after)
        judgement = judge(sight, stored.draft.guardrails, self._clock.now())
        if not judgement.crossings:
            return False
        return await self._carry_out(after, judgement)

    async def _look(self, after: AfterCycle) -> Sight:
        """Gather what is judged. Without a legacy system there is nothing to compare ages with."""
        stored = after.stored
        draft, workspace_id = stored.draft, stored.workspace.workspace_id
        ends = await self._store.load_cycle_ends(workspace_id, draft.guardrails.cycles)
        mismatch, ages, answered_at = None, [], stored.legacy_answered_at
        if draft.flags.is_compared:
            counted = await self._store.load_comparisons(workspace_id, COMPARISONS_SEEN)
            mismatch = find_lasting_mismatch(counted, draft.gate.min_comparable_share)
        if draft.legacy is not None:
            sides = await after.load_sides()
            ages = measure_ages(sides.pairs, self._clock.now())
            answered_at = _newer(answered_at, sides)
        return Sight(
            draft.flags,
            ends,
            ages,
            mismatch,
            answered_at,
            stored.rolled_back_at,
            has_legacy=draft.legacy is not None,
        )

    async def _carry_out(self, after: AfterCycle, judgement: Judgement) -> bool:
        ended, workspace = after.ended, after.stored.workspace
        finding = GuardrailFinding(
            ended.cycle_id,
            ended.trace_id,
            workspace.cutover_revision,
            judgement.crossings,
            judgement.why_not,
        )
        log = self._log.bind(
            workspace_id=workspace.workspace_id,
            cycle_id=ended.cycle_id,
            trace_id=ended.trace_id,
            guardrails=[one.guardrail.value for one in judgement.crossings],
            evidence=[one.detail for one in judgement.crossings],
        )
        owned = self._ownership, workspace.workspace_id, finding
        if judgement.acts:
            done = await self._store.roll_back(*owned)
            if done:
                log.warning("cutover_rolled_back")
        else:
            done = await self._store.record_alert(*owned)
            if done:
                log.warning("guardrail_alert", why_not=judgement.why_not)
        return done


def measure_ages(pairs: Iterable[DevicePair], now: datetime) -> list[DeviceAge]:
    """Return the ages of the devices that both systems have heard."""
    return [
        DeviceAge(_age(here, now), _age(there, now), pair.core.delayed_after_seconds)
        for pair in pairs
        if pair.core is not None
        and (here := pair.core.view.received_at) is not None
        and (there := _heard_there(pair.legacy)) is not None
    ]


def _heard_there(view: DeviceView | None) -> datetime | None:
    """Return when the legacy system had its newest news of the device.

    Some stamp a device with each of their own polls, also while it is parked and says nothing new.
    So the newest observation counts where it is older.
    """
    if view is None or view.received_at is None or not view.is_readable:
        return None
    observed_at = view.observed_at
    return view.received_at if observed_at is None else min(view.received_at, observed_at)


def _age(instant: datetime, now: datetime) -> float:
    return max(0.0, (now - instant).total_seconds())


def _newer(noted_at: datetime | None, sides: BothSides) -> datetime | None:
    """Return when the legacy system last answered: to this shard now, or as any shard noted."""
    known = [at for at in (noted_at, sides.answered_at) if at is not None]
    return max(known, default=None)
