"""What of a synchronisation contradicts what is stored, and what is left to be done.

This module owns that a device which contradicts connections, units or assignments is refused alone:
the others of the answer are stored.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from domain.device_changes import find_given_up, judge_drafts, unit_of
from domain.legacy_sync import refuse_draft
from domain.registry import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.device_changes import DeviceChange, Registered
    from domain.legacy_sync import RefusedDevice, SyncPlan
    from domain.registry import Answer, DeviceDraft


class SettledSync(NamedTuple):
    """The drafts and returns that contradict nothing; and those that do, with why."""

    drafts: Sequence[DeviceDraft]
    returning: Sequence[DeviceDraft]
    refused: Sequence[RefusedDevice]


def settle_sync(plan: SyncPlan, known: Registered, now: datetime) -> SettledSync:
    """Return what of the plan contradicts nothing that is stored.

    `known` is as stored, before anything of the plan, with the units of all its drafts and returns.
    A device that is refused does not keep the others from being stored.
    """
    returning = [draft for draft in plan.returning if _is_where_it_was(draft, known)]
    names = {draft.device_id for draft in returning}
    drafts = [*plan.drafts, *(one for one in plan.returning if one.device_id not in names)]
    drafts = [_keep_override(draft, known) for draft in sorted(drafts, key=lambda one: one[0])]
    freed = {unit: holder for unit, holder in known.holders.items() if holder not in plan.retiring}
    taken = {unit_of(draft, known.providers): draft.device_id for draft in returning}
    good, refused = _settle_drafts(drafts, known._replace(holders=freed | taken), now)
    return SettledSync(good, returning, [*plan.refused, *refused])


def _is_where_it_was(draft: DeviceDraft, known: Registered) -> bool:
    """Return whether the unit of a retired device was in no other device since."""
    retired_at = known.devices[draft.device_id].retired_at
    assignments = known.assignments.get(unit_of(draft, known.providers), ())
    return (
        draft.provider_id in known.providers
        and retired_at is not None
        and not any(
            one.device_id != draft.device_id and (one.ended_at is None or one.ended_at > retired_at)
            for one in assignments
        )
    )


def _keep_override(draft: DeviceDraft, known: Registered) -> DeviceDraft:
    """Return the draft with the device's own thresholds, which the legacy system does not have."""
    stored = known.devices.get(draft.device_id)
    if stored is None:
        return draft
    override = stored.override
    return draft._replace(
        delayed_after_seconds=override.delayed_after_seconds,
        stale_after_seconds=override.stale_after_seconds,
        grace_seconds=override.grace_seconds,
    )


def _settle_drafts(
    drafts: Sequence[DeviceDraft], known: Registered, now: datetime
) -> tuple[list[DeviceDraft], list[RefusedDevice]]:
    """Return the drafts that can be stored together, and the others with why. Linear."""
    good, refused = _part(drafts, judge_drafts(drafts, known, now, may_swap=True))
    # A refused swap does not give up its unit. So a draft that wants this unit is refused, too.
    unit_kept = {name: unit for unit, name in find_given_up(drafts, known).items()}
    wanted = {unit_of(draft, known.providers): draft for draft in good}
    waiting = [one.device_id for one in refused]
    follow: set[str] = set()
    while waiting:
        holder = waiting.pop()
        unit = unit_kept.get(holder)
        draft = None if unit is None else wanted.get(unit)
        if draft is not None and draft.device_id not in follow:
            follow.add(draft.device_id)
            waiting.append(draft.device_id)
            detail = f"external id {draft.external_id} belongs to active device {holder}"
            refused.append(refuse_draft(draft, "external_id", detail))
    return [draft for draft in good if draft.device_id not in follow], refused


def _part(
    drafts: Sequence[DeviceDraft], answers: Sequence[Answer]
) -> tuple[list[DeviceDraft], list[RefusedDevice]]:
    good, bad = [], []
    for draft, answer in zip(drafts, answers, strict=True):
        match answer:
            case Conflict(detail, field):
                bad.append(refuse_draft(draft, field, detail))
            case NotFound(what):
                bad.append(refuse_draft(draft, "provider_id", f"There is no {what} here."))
            case _:
                good.append(draft)
    return good, bad


def count_sync(
    plan: SyncPlan, settled: SettledSync, changes: Sequence[DeviceChange], known: Registered
) -> dict[str, int]:
    """Return how many devices of the answer, and of ours, got what. `known` is as before."""
    kinds = Counter(_kind_of(change, known) for change in changes)
    return {
        "unchanged": plan.unchanged,
        "created": kinds["created"],
        "changed": kinds["changed"],
        "swapped": kinds["swapped"],
        "activated": kinds["activated"],
        "returned": len(settled.returning),
        "retired": len(plan.retiring),
        "held_back": len(plan.held_back),
        "refused": len(settled.refused),
    }


def _kind_of(change: DeviceChange, known: Registered) -> str:
    before = known.devices.get(change.device.device_id)
    if before is None:
        return "created"
    if before.retired_at is not None:
        return "activated"
    return "changed" if change.begun is None else "swapped"
