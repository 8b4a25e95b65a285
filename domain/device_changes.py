"""Changes to devices: which drafts are refused, and which assignments begin and end with them.

This module owns the rule that a device's unit and vehicle are fixed while it is active. Another
unit or vehicle begins another assignment, by a swap or by activating a retired device again.
Assignments are kept. Only the spelling of the external id and the vehicle's name may be corrected.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from domain.assignments import DeviceAssignment, find_other_spans
from domain.identity import external_key, key_of
from domain.model import Device
from domain.registry import (
    Conflict,
    DeviceDraft,
    NotFound,
    Stored,
    find_move,
    refuse_faults,
    revision_of,
)
from domain.thresholds import check_override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from domain.registry import Answer, Swap

    UnitKey = tuple[str, str]  # provider_id, external key


class Registered(NamedTuple):
    """What is stored that a command on devices may contradict.

    `providers` maps each connection to whether its external ids are VINs. `holders` maps
    (provider_id, external key) of each active device to its device_id. `assignments` has, for each
    (provider_id, external key), every assignment of that unit; `present` has the newest assignment
    of each device.
    """

    providers: Mapping[str, bool]
    devices: Mapping[str, Device]
    holders: Mapping[UnitKey, str]
    assignments: Mapping[UnitKey, Sequence[DeviceAssignment]]
    present: Mapping[str, DeviceAssignment]


class DeviceChange(NamedTuple):
    """What a command makes of one device.

    `begun` is the assignment that begins with it; None if the present one goes on. `ends_at` is
    when the one before it ended, if it had not ended already.
    """

    device: Device
    begun: DeviceAssignment | None = None
    ends_at: datetime | None = None


def unit_of(draft: DeviceDraft, providers: Mapping[str, bool]) -> UnitKey:
    """Return the unit that the draft names."""
    is_vin = providers.get(draft.provider_id, False)
    return draft.provider_id, external_key(draft.external_id, is_vin=is_vin)


def judge_drafts(
    drafts: Sequence[DeviceDraft],
    known: Registered,
    now: datetime,
    *,
    may_swap: bool = False,
) -> list[Answer]:
    """Return one answer for each draft. Nothing may be stored unless every answer is `Stored`.

    `may_swap` says whether a draft may give an active device another unit or vehicle. A unit that
    one device of the command gives up by a swap is free for another one of it: two devices may
    exchange their units.
    """
    answers: list[Answer] = []
    seen_ids: set[str] = set()
    seen_units: set[UnitKey] = set()
    if may_swap:
        given_up = find_given_up(drafts, known)
        held = {unit: holder for unit, holder in known.holders.items() if unit not in given_up}
        known = known._replace(holders=held)
    for draft in drafts:
        unit = unit_of(draft, known.providers)
        answers.append(
            find_move(revision_of(known.devices.get(draft.device_id)), draft.expected)
            or _judge_alone(draft, known, now, may_swap=may_swap)
            if draft.device_id not in seen_ids and unit not in seen_units
            else _refuse_repeated(draft, known, seen_ids)
        )
        seen_ids.add(draft.device_id)
        seen_units.add(unit)
    return answers


def find_given_up(drafts: Sequence[DeviceDraft], known: Registered) -> dict[UnitKey, str]:
    """Return the units that active devices give up by these drafts, with the device of each."""
    given_up = {}
    for draft in drafts:
        stored = known.devices.get(draft.device_id)
        if stored is None or stored.retired_at is not None:
            continue
        unit = (stored.provider_id, key_of(stored))
        if unit != unit_of(draft, known.providers):
            given_up[unit] = draft.device_id
    return given_up


def _refuse_repeated(
    draft: DeviceDraft, known: Registered, seen_ids: AbstractSet[str]
) -> NotFound | Conflict:
    if draft.provider_id not in known.providers:
        return NotFound(f"provider {draft.provider_id}")
    if draft.device_id in seen_ids:
        return Conflict(f"device {draft.device_id} is given twice", "device_id")
    return Conflict(f"external id {draft.external_id} is given twice", "external_id")


def _judge_alone(draft: DeviceDraft, known: Registered, now: datetime, *, may_swap: bool) -> Answer:
    if draft.provider_id not in known.providers:
        return NotFound(f"provider {draft.provider_id}")
    holder = known.holders.get(unit_of(draft, known.providers))
    if holder is not None and holder != draft.device_id:
        return Conflict(
            f"external id {draft.external_id} belongs to active device {holder}", "external_id"
        )
    if refusal := refuse_faults(check_override(draft.override)):
        return refusal
    stored = known.devices.get(draft.device_id)
    field = None if stored is None else _find_difference(draft, stored, known)
    if stored is None or field is None:
        return _refuse_other_start(draft, known) or Stored(created=stored is None)
    return (
        _refuse_swap(draft, known, now)
        if may_swap
        else Conflict(
            f"device {stored.device_id} is active with unit {stored.external_id} of connection "
            f"{stored.provider_id} in vehicle {stored.vehicle_id}: POST …/devices/"
            f"{stored.device_id}/swap gives it another unit or vehicle",
            field,
        )
    ) or Stored(created=False, swapped=True)


def _find_difference(draft: DeviceDraft, stored: Device, known: Registered) -> str | None:
    """Return the field by which the draft names another unit or vehicle of an active device."""
    if stored.retired_at is not None:
        return None
    if draft.provider_id != stored.provider_id:
        return "provider_id"
    if unit_of(draft, known.providers)[1] != key_of(stored):
        return "external_id"
    return "vehicle_id" if draft.vehicle_id.strip() != stored.vehicle_id.strip() else None


def _refuse_swap(draft: DeviceDraft, known: Registered, now: datetime) -> Conflict | None:
    effective_at = draft.effective_at or now
    if effective_at > now:
        return Conflict("must not be in the future", "effective_at")
    start = known.present[draft.device_id].effective_at
    if effective_at < start:
        began = f"the present assignment began at {start.isoformat()}: must not be before that"
        return Conflict(began, "effective_at")
    return None


def _refuse_other_start(draft: DeviceDraft, known: Registered) -> Conflict | None:
    """Refuse a swap to what the device has already, unless it repeats the one that was stored."""
    present = known.present.get(draft.device_id)
    if draft.effective_at is None or present is None or draft.effective_at == present.effective_at:
        return None
    since = present.effective_at.isoformat()
    return Conflict(f"the device has this unit and vehicle since {since}", "effective_at")


def plan_changes(
    workspace_id: str, drafts: Sequence[DeviceDraft], known: Registered, now: datetime
) -> list[DeviceChange]:
    """Return what the drafts change. A draft that says what is stored already changes nothing."""
    planned = [_plan_change(workspace_id, draft, known, now) for draft in drafts]
    return [
        change for change in planned if change.device != known.devices.get(change.device.device_id)
    ]


def _plan_change(
    workspace_id: str, draft: DeviceDraft, known: Registered, now: datetime
) -> DeviceChange:
    """Return the device that the draft makes, and the assignment that begins with it.

    A new device is active from now unless the draft says when. The later ones of a device count
    from their entry at the earliest: what came before belongs to the assignment before.
    """
    stored = known.devices.get(draft.device_id)
    if stored is None:
        starts = draft.activated_at or now
        return _begin(_make_device(workspace_id, draft, known, starts, 1), starts, known, now)
    number = stored.assignment + 1
    if stored.retired_at is not None:
        starts = max(draft.activated_at or now, stored.retired_at)
        device = _make_device(workspace_id, draft, known, max(starts, now), number)
        return _begin(device, starts, known, now)
    if _find_difference(draft, stored, known):
        starts = draft.effective_at or now
        device = _make_device(workspace_id, draft, known, max(starts, now), number)
        return _begin(device, starts, known, now)._replace(ends_at=starts)
    return DeviceChange(
        replace(
            stored,
            external_id=draft.external_id,
            vehicle_id=draft.vehicle_id,
            vehicle_name=draft.vehicle_name,
            activated_at=draft.activated_at or stored.activated_at,
            override=draft.override,
            tags=_tags_of(draft, stored),
        )
    )


def _make_device(
    workspace_id: str, draft: DeviceDraft, known: Registered, activated_at: datetime, number: int
) -> Device:
    return Device(
        workspace_id=workspace_id,
        device_id=draft.device_id,
        provider_id=draft.provider_id,
        external_id=draft.external_id,
        vehicle_id=draft.vehicle_id,
        vehicle_name=draft.vehicle_name,
        activated_at=activated_at,
        override=draft.override,
        ids_are_vins=known.providers[draft.provider_id],
        assignment=number,
        tags=_tags_of(draft, known.devices.get(draft.device_id)),
    )


def _tags_of(draft: DeviceDraft, stored: Device | None) -> tuple[str, ...]:
    """Return the tags after the command: those that the draft names, or else the stored ones."""
    if draft.tags is not None:
        return draft.tags
    return () if stored is None else stored.tags


def _begin(device: Device, starts: datetime, known: Registered, now: datetime) -> DeviceChange:
    former = [
        replace(one, ended_at=starts) if one.ended_at is None else one
        for one in known.assignments.get((device.provider_id, key_of(device)), ())
    ]
    begun = DeviceAssignment(
        workspace_id=device.workspace_id,
        device_id=device.device_id,
        assignment=device.assignment,
        provider_id=device.provider_id,
        external_id=device.external_id,
        external_key=key_of(device),
        vehicle_id=device.vehicle_id,
        vehicle_name=device.vehicle_name,
        effective_at=starts,
        entered_at=now,
    )
    other_spans = find_other_spans(begun, former)
    return DeviceChange(replace(device, other_spans=other_spans), begun)


def swap_draft(swap: Swap, stored: Device) -> DeviceDraft:
    """Return the draft of the device after the swap. What the swap leaves out stays as it is."""
    return DeviceDraft(
        device_id=stored.device_id,
        provider_id=swap.provider_id or stored.provider_id,
        external_id=swap.external_id or stored.external_id,
        vehicle_id=swap.vehicle_id or stored.vehicle_id,
        vehicle_name=swap.vehicle_name or stored.vehicle_name,
        delayed_after_seconds=stored.override.delayed_after_seconds,
        stale_after_seconds=stored.override.stale_after_seconds,
        grace_seconds=stored.override.grace_seconds,
        effective_at=swap.effective_at,
    )


def refuse_retired(stored: Device) -> Conflict | None:
    """Return why a retired device cannot be swapped."""
    if stored.retired_at is None:
        return None
    return Conflict(
        f"device {stored.device_id} is retired: PUT it with the new unit or vehicle", "device_id"
    )


def refuse_same_ids(devices: Sequence[Device]) -> Conflict | None:
    """Return why one connection cannot have these devices: two active ones have the same id."""
    first: dict[str, str] = {}
    for device in devices:
        holder = device.device_id
        if device.retired_at is None:
            holder = first.setdefault(key_of(device), device.device_id)
        if holder != device.device_id:
            both = f"devices {holder} and {device.device_id}"
            return Conflict(f"{both} would have the same external id", "provider_type")
    return None


def retire(device: Device, now: datetime) -> Device:
    """Return the device as retired now.

    A device that is retired already keeps its first instant.
    """
    return device if device.retired_at is not None else replace(device, retired_at=now)
