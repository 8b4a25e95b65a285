"""The synchronisation of a workspace's devices with its legacy registry: what an answer changes.

This module owns which devices an answer creates, changes, returns and retires, and which ones it
leaves as they are although it does not name them. A wrong answer must never retire a fleet. So a
device is retired only if two complete answers in a row leave it out, and neither is doubted.
docs/decisions/0045 gives the reasons.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.device_changes import unit_of
from domain.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from domain.device_changes import UnitKey
    from domain.registry import DeviceDraft

MIN_LEFT_OUT: Final = 2
PERCENT_LEFT_OUT: Final = 10
RETURNS_WITHIN: Final = timedelta(days=1)
CLOCK_TOLERANCE: Final = timedelta(minutes=1)


class SyncOutcome(StrEnum):
    """The end of an attempt to synchronise."""

    SYNCED = "synced"
    INCOMPLETE = "incomplete"  # items did not fit; applied, but nobody was retired
    DOUBTED = "doubted"  # it left out too many devices; applied, but nobody was retired
    UNREACHABLE = "unreachable"  # the legacy system did not answer
    UNFIT = "unfit"  # its answer as a whole does not fit the shape


class NotSynced(StrEnum):
    """Why nothing of an answer was applied, nor noted."""

    OUTDATED = "outdated"  # this answer, or a newer one, was applied already
    CHANGED = "changed"  # flags or legacy system were changed after it had been asked
    ARCHIVED = "archived"  # the workspace is never changed again
    FENCED = "fenced"  # the shard does not own the workspace any more


class HeldBackWhy(StrEnum):
    """Why a device that an answer left out was not retired."""

    ONCE = "left_out_once"  # the complete answer before this one named it
    TOO_MANY = "too_many_left_out"  # this answer is doubted
    TOO_MANY_BEFORE = "too_many_left_out_before"  # the one before it was doubted
    INCOMPLETE = "incomplete_answer"  # its item may be one of those that do not fit


class RegistryAnswer(NamedTuple):
    """A legacy registry's answer, as drafts of all devices that could be read.

    If the registry has no ids of ours, the device_id of a draft is the external id.
    """

    drafts: Sequence[DeviceDraft]
    is_complete: bool = True
    has_our_ids: bool = True


class SyncedDevice(NamedTuple):
    """A device as it is stored: active, or retired by a sync within `RETURNS_WITHIN`."""

    device_id: str
    provider_id: str
    external_id: str
    external_key: str
    vehicle_id: str
    vehicle_name: str
    retired_at: datetime | None = None

    @property
    def unit(self) -> UnitKey:
        return self.provider_id, self.external_key


class SyncMemory(NamedTuple):
    """What is kept of the newest complete answer: which active devices it left out.

    `doubted`: it left out too many. `revision` is that of the cutover under which it was given.
    """

    revision: int
    left_out: frozenset[str] = frozenset()
    doubted: bool = False


class HeldBack(NamedTuple):
    """A device that the answer left out, and that was not retired."""

    device_id: str
    vehicle_id: str
    why: HeldBackWhy


class RefusedDevice(NamedTuple):
    """A device of the answer that contradicts what is stored. `field` names what is at fault."""

    device_id: str
    external_id: str
    field: str
    detail: str


class SyncPlan(NamedTuple):
    """What an answer changes, before it is compared with connections and assignments.

    `returning` continue their assignment. `left_out` and `doubted` are to be remembered.
    """

    outcome: SyncOutcome
    drafts: Sequence[DeviceDraft]
    returning: Sequence[DeviceDraft]
    retiring: frozenset[str]
    held_back: Sequence[HeldBack]
    refused: Sequence[RefusedDevice]
    unchanged: int
    left_out: frozenset[str]
    doubted: bool


class _Departures(NamedTuple):
    outcome: SyncOutcome
    retiring: frozenset[str]
    held_back: list[HeldBack]
    left_out: frozenset[str]
    doubted: bool


def recall(memory: SyncMemory | None, revision: int) -> SyncMemory:
    """Return what counts of the memory under this revision of the cutover.

    An answer that was given under other flags, or by another system, is none of two in a row.
    """
    if memory is None or memory.revision != revision:
        return SyncMemory(revision)
    return memory


def is_outdated(answered_at: datetime, applied_at: datetime | None, now: datetime) -> bool:
    """Return whether an answer as new as this one was applied already.

    Two syncs at once may have shared one answer, and one answer must not count as two in a row. An
    `applied_at` from the future was noted before the database's clock was set back. It would hold
    up every answer until then, so it does not count.
    """
    return applied_at is not None and answered_at <= applied_at <= now + CLOCK_TOLERANCE


def leaves_out_too_many(left_out: int, active: int) -> bool:
    """Return whether an answer leaves out so many of the active devices that it is doubted.

    That are more than two and more than a tenth, or all.
    """
    limit = max(MIN_LEFT_OUT, active * PERCENT_LEFT_OUT // 100)
    return left_out > limit or left_out == active > 0


def plan_sync(
    answer: RegistryAnswer,
    stored: Iterable[SyncedDevice],
    memory: SyncMemory,
    vins: Mapping[str, bool],
    now: datetime,
    *,
    forced: bool = False,
) -> SyncPlan:
    """Return what the answer changes.

    `vins` maps each connection to whether its external ids are VINs. `forced` believes an answer
    whatever the number of devices that it leaves out. It does not make one answer two.
    """
    known = {device.device_id: device for device in stored}
    active = {name: device for name, device in known.items() if device.retired_at is None}
    named, refused = _match(answer, known, vins)
    left = {name: active[name] for name in sorted(active.keys() - named.keys())}
    departures = _judge_departures(
        left, len(active), memory, is_complete=answer.is_complete, forced=forced
    )
    drafts: list[DeviceDraft] = []
    returning: list[DeviceDraft] = []
    for name, draft in named.items():
        device = known.get(name)
        if device is None or not _is_same(draft, device):
            returns = device is not None and _continues(draft, device, vins, now)
            (returning if returns else drafts).append(draft)
    return SyncPlan(
        departures.outcome,
        sorted(drafts, key=_id_of),
        sorted(returning, key=_id_of),
        departures.retiring,
        departures.held_back,
        refused,
        len(named) - len(drafts) - len(returning),
        departures.left_out,
        departures.doubted,
    )


# Which device of ours an answer names


def _match(
    answer: RegistryAnswer, known: Mapping[str, SyncedDevice], vins: Mapping[str, bool]
) -> tuple[dict[str, DeviceDraft], list[RefusedDevice]]:
    """Return the drafts by the device of ours that each names, and those that can name none."""
    named: dict[str, DeviceDraft] = {}
    refused: list[RefusedDevice] = []
    by_unit = {} if answer.has_our_ids else _find_units(known)
    for draft in answer.drafts:
        found = draft
        if not answer.has_our_ids:
            holder = by_unit.get(unit_of(draft, vins))
            if holder is None and (fault := _refuse_new_id(draft, known)):
                refused.append(fault)
                continue
            found = draft._replace(device_id=holder or draft.external_id)
        first = named.setdefault(found.device_id, found)
        if first is not found and first != found:
            refused.append(refuse_draft(found, "device_id", "The answer has this device twice."))
    return named, refused


def _find_units(known: Mapping[str, SyncedDevice]) -> dict[UnitKey, str]:
    """Return the device of each unit: the active one, or else the one that was retired last."""
    retired = [device for device in known.values() if device.retired_at is not None]
    found = {
        device.unit: device.device_id
        for device in sorted(retired, key=lambda one: (one.retired_at, one.device_id))
    }
    active = (device for device in known.values() if device.retired_at is None)
    return found | {device.unit: device.device_id for device in active}


def _refuse_new_id(draft: DeviceDraft, known: Mapping[str, SyncedDevice]) -> RefusedDevice | None:
    """Return why a new device cannot have its external id as device_id."""
    name = draft.external_id
    if not is_id(name):
        detail = (
            f"A new device gets its external id as device_id, and {name!r} cannot be one: 1 to 64 "
            "letters, digits and . _ : -"
        )
        return refuse_draft(draft, "external_id", detail)
    holder = known.get(name)
    if holder is not None and holder.retired_at is None:
        detail = f"The active device {name} has the unit {holder.external_id}."
        return refuse_draft(draft, "device_id", detail)
    return None


# Which devices it retires


def _judge_departures(
    left: Mapping[str, SyncedDevice],
    active: int,
    memory: SyncMemory,
    *,
    is_complete: bool,
    forced: bool,
) -> _Departures:
    """Return which of the devices that the answer leaves out are retired now."""
    names = frozenset(left)
    if not is_complete:
        # Being named clears a device. Being left out says nothing, so nothing is added.
        held = [_hold(device, HeldBackWhy.INCOMPLETE) for device in left.values()]
        remembered = memory.left_out & names
        return _Departures(SyncOutcome.INCOMPLETE, frozenset(), held, remembered, memory.doubted)
    doubted = leaves_out_too_many(len(names), active) and not forced
    trusted = not doubted and (forced or not memory.doubted)
    retiring = names & memory.left_out if trusted else frozenset()
    held = []
    for name, device in left.items():
        if doubted:
            held.append(_hold(device, HeldBackWhy.TOO_MANY))
        elif name not in memory.left_out:
            held.append(_hold(device, HeldBackWhy.ONCE))
        elif name not in retiring:
            held.append(_hold(device, HeldBackWhy.TOO_MANY_BEFORE))
    outcome = SyncOutcome.DOUBTED if doubted else SyncOutcome.SYNCED
    return _Departures(outcome, retiring, held, names - retiring, doubted)


def _hold(device: SyncedDevice, why: HeldBackWhy) -> HeldBack:
    return HeldBack(device.device_id, device.vehicle_id, why)


# What it says of the devices that it names


def _is_same(draft: DeviceDraft, device: SyncedDevice) -> bool:
    """Return whether the device is active and as the draft has it. Runs for the whole fleet."""
    return (
        device.retired_at is None
        and draft.external_id == device.external_id
        and draft.vehicle_name == device.vehicle_name
        and draft.vehicle_id == device.vehicle_id
        and draft.provider_id == device.provider_id
    )


def _id_of(draft: DeviceDraft) -> str:
    return draft.device_id


def _continues(
    draft: DeviceDraft, device: SyncedDevice, vins: Mapping[str, bool], now: datetime
) -> bool:
    """Return whether a retired device returns to where it was: same unit, same vehicle, in time."""
    return (
        device.retired_at is not None
        and now - device.retired_at <= RETURNS_WITHIN
        and unit_of(draft, vins) == device.unit
        and draft.vehicle_id.strip() == device.vehicle_id.strip()
    )


def refuse_draft(draft: DeviceDraft, field: str, detail: str) -> RefusedDevice:
    return RefusedDevice(draft.device_id, draft.external_id, field, detail)
