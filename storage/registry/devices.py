"""Commands on devices: configure, swap, retire. Each runs within its caller's transaction.

Owns the reading of what a command may contradict, and the writing of what it changes. The caller
has locked the workspace's row. domain/device_changes.py decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from domain.changes import device_change, import_change
from domain.device_changes import (
    DeviceChange,
    Registered,
    find_given_up,
    judge_drafts,
    plan_changes,
    refuse_retired,
    refuse_same_ids,
    swap_draft,
    unit_of,
)
from domain.identity import external_key, key_of
from domain.registry import Conflict, NotFound, Stored, find_move, revision_of
from ports.registry import MAX_LISTED_EVENTS, MAX_SWAP_EVENTS, Swapped
from storage.changes import record_changes, record_whole
from storage.queries import bound, sql
from storage.rows import dump_spans, dump_tags, to_assignment, to_device, to_event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.changes import Author, ConfiguredChange
    from domain.device_changes import UnitKey
    from domain.model import Device
    from domain.registry import Answer, DeviceDraft, Moved, Swap
    from storage.gateway import Connection


def devices_call(
    workspace_id: str,
    *,
    include_retired: bool,
    after: str | None = None,
    limit: int | None = None,
    tag: str | None = None,
) -> tuple[Any, ...]:
    """Return the statement that lists devices, and its arguments."""
    return bound(
        "list_devices",
        workspace_id=workspace_id,
        include_retired=include_retired,
        after=after,
        limit=limit,
        tag=tag,
    )


async def put_devices(
    connection: Connection,
    workspace_id: str,
    drafts: Sequence[DeviceDraft],
    *,
    may_swap: bool,
    digest: str | None = None,
    by: Author,
) -> list[Answer]:
    """Store all drafts, or none if one is refused."""
    known = await load_registered(connection, workspace_id, drafts)
    answers = judge_drafts(drafts, known, await read_clock(connection), may_swap=may_swap)
    if not all(isinstance(answer, Stored) for answer in answers):
        return answers
    changes = await write_drafts(connection, workspace_id, drafts, known)
    if changes:
        entries = describe_changes(changes, known)
        await _record(connection, workspace_id, by, entries, digest)
        await connection.execute(sql("bump_config"), workspace_id)
    changed = {change.device.device_id for change in changes}
    return [
        _count_change(answer, known.devices.get(draft.device_id), draft.device_id in changed)
        for draft, answer in zip(drafts, answers, strict=True)
    ]


async def write_drafts(
    connection: Connection, workspace_id: str, drafts: Sequence[DeviceDraft], known: Registered
) -> list[DeviceChange]:
    """Write what the drafts change, but not into the history. None of them may be refused."""
    ids = [draft.device_id for draft in drafts if draft.device_id in known.devices]
    await connection.execute(sql("lock_device_states"), workspace_id, ids)
    # Read after the locks, so that whatever was committed before belongs to what ends now.
    changes = plan_changes(workspace_id, drafts, known, await read_clock(connection))
    if changes:
        await _give_up_units(connection, workspace_id, drafts, known)
        await _write_changes(connection, workspace_id, changes)
    return changes


def describe_changes(changes: Sequence[DeviceChange], known: Registered) -> list[ConfiguredChange]:
    """Return the entries of the history. `known` is as it was before the changes."""
    return [
        device_change(known.devices.get(change.device.device_id), change.device)
        for change in changes
    ]


async def _record(
    connection: Connection,
    workspace_id: str,
    by: Author,
    entries: Sequence[ConfiguredChange],
    digest: str | None,
) -> None:
    """Append the devices' changes to the history: those of an import as parts of one entry."""
    part_of = None
    if digest is not None:
        whole = import_change(workspace_id, digest, entries)
        part_of = await record_whole(connection, workspace_id, by, whole)
    await record_changes(connection, workspace_id, by, entries, part_of=part_of)


def _count_change(answer: Answer, stored: Device | None, is_changed: bool) -> Answer:
    """Return the answer with the revision that the device has after the command."""
    if not isinstance(answer, Stored):
        return answer
    return replace(answer, revision=revision_of(stored) + is_changed)


async def swap_device(
    connection: Connection,
    workspace_id: str,
    device_id: str,
    swap: Swap,
    *,
    by: Author,
    expected: int | None = None,
) -> Swapped | NotFound | Conflict | Moved:
    """Begin the device's next assignment. A swap that was stored already is answered again."""
    row = await connection.fetchrow(sql("get_device"), workspace_id, device_id)
    if row is None:
        return NotFound("device")
    stored = to_device(row)
    if refusal := find_move(stored.revision, expected) or refuse_retired(stored):
        return refusal
    draft = swap_draft(swap, stored)
    (answer,) = await put_devices(connection, workspace_id, [draft], may_swap=True, by=by)
    return await _describe_swap(connection, stored) if isinstance(answer, Stored) else answer


async def retire_device(
    connection: Connection,
    workspace_id: str,
    device_id: str,
    *,
    by: Author,
    expected: int | None = None,
) -> Device | NotFound | Moved:
    """Retire the device, and end its assignment with it. Retired again, it stays as it is."""
    row = await connection.fetchrow(sql("get_device"), workspace_id, device_id)
    if row is None:
        return NotFound("device")
    stored = to_device(row)
    if moved := find_move(stored.revision, expected):
        return moved
    if stored.retired_at is not None:
        return stored
    row = await connection.fetchrow(sql("retire_device"), workspace_id, device_id)
    assert row is not None  # noqa: S101 the workspace is locked
    retired = to_device(row)
    ended_at = [retired.retired_at]
    await connection.execute(sql("end_assignments"), workspace_id, [device_id], ended_at)
    await record_changes(connection, workspace_id, by, [device_change(stored, retired)])
    await connection.execute(sql("bump_config"), workspace_id)
    return retired


async def rekey_devices(
    connection: Connection, workspace_id: str, provider_id: str, *, ids_are_vins: bool
) -> Conflict | None:
    """Compare the external ids of a connection by another rule from now on.

    Returns the refusal if two active devices would then have the same id, and changes nothing.
    """
    rows = await connection.fetch(*devices_call(workspace_id, include_retired=True))
    devices = [
        replace(device, ids_are_vins=ids_are_vins)
        for device in map(to_device, rows)
        if device.provider_id == provider_id
    ]
    if refusal := refuse_same_ids(devices):
        return refusal
    call = bound(
        "rekey_devices",
        workspace_id=workspace_id,
        ids_are_vins=ids_are_vins,
        device_id=[device.device_id for device in devices],
        external_key=[key_of(device) for device in devices],
    )
    await connection.execute(*call)
    rows = await connection.fetch(sql("list_assignments"), workspace_id, provider_id)
    former = [
        replace(one, external_key=external_key(one.external_id, is_vin=ids_are_vins))
        for one in map(to_assignment, rows)
    ]
    call = bound(
        "rekey_assignments",
        workspace_id=workspace_id,
        device_id=[one.device_id for one in former],
        assignment=[one.assignment for one in former],
        external_key=[one.external_key for one in former],
    )
    await connection.execute(*call)
    return None


async def read_clock(connection: Connection) -> datetime:
    now: datetime = await connection.fetchval(sql("read_clock"))
    return now


async def load_registered(
    connection: Connection, workspace_id: str, drafts: Sequence[DeviceDraft]
) -> Registered:
    """Return what is stored that the drafts may contradict."""
    rows = await connection.fetch(sql("list_providers"), workspace_id, None, None, False)
    providers = {row["provider_id"]: row["ids_are_vins"] for row in rows}
    ids = [draft.device_id for draft in drafts]
    units = _columns([unit_of(draft, providers) for draft in drafts])
    devices = await connection.fetch(sql("find_devices"), workspace_id, ids)
    holders = await connection.fetch(sql("find_external_holders"), workspace_id, *units)
    former = await connection.fetch(sql("find_assignments"), workspace_id, *units)
    present = await connection.fetch(sql("find_present_assignments"), workspace_id, ids)
    assignments: dict[UnitKey, list[Any]] = {}
    for row in former:
        assignments.setdefault((row["provider_id"], row["external_key"]), []).append(
            to_assignment(row)
        )
    return Registered(
        providers,
        {row["device_id"]: to_device(row) for row in devices},
        {(row["provider_id"], row["external_key"]): row["device_id"] for row in holders},
        assignments,
        {row["device_id"]: to_assignment(row) for row in present},
    )


def _columns(units: Sequence[UnitKey]) -> tuple[list[str], list[str]]:
    return [provider_id for provider_id, _ in units], [key for _, key in units]


async def _give_up_units(
    connection: Connection, workspace_id: str, drafts: Sequence[DeviceDraft], known: Registered
) -> None:
    """Free the units that move from one device of the command to another one of it.

    The index on external keys allows no two active devices of one unit, not even within a
    statement.
    """
    given_up = find_given_up(drafts, known)
    taken = {unit_of(draft, known.providers) for draft in drafts}
    moving = sorted(device_id for unit, device_id in given_up.items() if unit in taken)
    if moving:
        await connection.execute(sql("give_up_units"), workspace_id, moving)


async def _write_changes(
    connection: Connection, workspace_id: str, changes: Sequence[DeviceChange]
) -> None:
    await _write_devices(connection, workspace_id, [change.device for change in changes])
    ended = [change for change in changes if change.ends_at is not None]
    if ended:
        ids = [change.device.device_id for change in ended]
        ends = [change.ends_at for change in ended]
        await connection.execute(sql("end_assignments"), workspace_id, ids, ends)
    await _begin_assignments(connection, workspace_id, changes)
    corrected = [change.device for change in changes if change.begun is None]
    if corrected:
        await correct_assignments(connection, workspace_id, corrected)


async def correct_assignments(
    connection: Connection, workspace_id: str, devices: Sequence[Device], *, resume: bool = False
) -> None:
    """Write spelling and name into the present assignments. `resume`: these go on from now."""
    call = bound(
        "resume_assignments" if resume else "correct_assignments",
        workspace_id=workspace_id,
        device_id=[device.device_id for device in devices],
        assignment=[device.assignment for device in devices],
        external_id=[device.external_id for device in devices],
        vehicle_name=[device.vehicle_name for device in devices],
    )
    await connection.execute(*call)


async def _write_devices(
    connection: Connection, workspace_id: str, devices: Sequence[Device]
) -> None:
    overrides = [device.override for device in devices]
    call = bound(
        "put_devices",
        workspace_id=workspace_id,
        device_id=[device.device_id for device in devices],
        provider_id=[device.provider_id for device in devices],
        external_id=[device.external_id for device in devices],
        vehicle_id=[device.vehicle_id for device in devices],
        vehicle_name=[device.vehicle_name for device in devices],
        activated_at=[device.activated_at for device in devices],
        delayed_after_seconds=[override.delayed_after_seconds for override in overrides],
        stale_after_seconds=[override.stale_after_seconds for override in overrides],
        grace_seconds=[override.grace_seconds for override in overrides],
        ids_are_vins=[device.ids_are_vins for device in devices],
        external_key=[key_of(device) for device in devices],
        assignment=[device.assignment for device in devices],
        other_spans=[dump_spans(device.other_spans) for device in devices],
        tags=[dump_tags(device.tags) for device in devices],
    )
    await connection.execute(*call)


async def _begin_assignments(
    connection: Connection, workspace_id: str, changes: Sequence[DeviceChange]
) -> None:
    """Store the assignments that begin, without history and values of earlier ones."""
    begun = [change.begun for change in changes if change.begun is not None]
    if not begun:
        return
    ids = [one.device_id for one in begun]
    numbers = [one.assignment for one in begun]
    call = bound(
        "begin_assignments",
        workspace_id=workspace_id,
        device_id=ids,
        assignment=numbers,
        provider_id=[one.provider_id for one in begun],
        external_id=[one.external_id for one in begun],
        external_key=[one.external_key for one in begun],
        vehicle_id=[one.vehicle_id for one in begun],
        vehicle_name=[one.vehicle_name for one in begun],
        effective_at=[one.effective_at for one in begun],
        entered_at=[one.entered_at for one in begun],
    )
    await connection.execute(*call)
    # Everything counts for a first assignment: there is none before it.
    entered = [one.entered_at if one.assignment > 1 else None for one in begun]
    await connection.execute(sql("make_device_states"), workspace_id, ids, numbers, entered)
    await connection.execute(sql("make_snapshots"), workspace_id, ids)


async def _describe_swap(connection: Connection, stored: Device) -> Swapped:
    """Return the device as it is now, and what was accepted for it after its former end."""
    key = (stored.workspace_id, stored.device_id)
    row = await connection.fetchrow(sql("get_device"), *key)
    assert row is not None  # noqa: S101 devices are never deleted
    device = to_device(row)
    numbers = [device.assignment, device.assignment - 1]
    rows = await connection.fetch(sql("get_assignments"), *key, numbers)
    present, *earlier = map(to_assignment, rows)
    if not earlier:
        return Swapped(device, present, None)
    (former,) = earlier
    wanted = {
        "workspace_id": stored.workspace_id,
        "device_id": stored.device_id,
        "assignment": former.assignment,
        "ended_at": former.ended_at,
    }
    count = await connection.fetchval(
        *bound("count_events_after_end", **wanted, limit=MAX_SWAP_EVENTS)
    )
    events = await connection.fetch(
        *bound("list_events_after_end", **wanted, limit=MAX_LISTED_EVENTS)
    )
    return Swapped(device, present, former, count, tuple(map(to_event, events)))
