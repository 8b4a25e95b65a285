"""The rules of configuration: which commands are refused, and what a command changes.

The database's constraints are a second guard.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from domain.model import Device, PolicyOverride
from domain.thresholds import check_override, check_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from domain.model import Policy, ProviderConnection, Workspace
    from domain.thresholds import ThresholdFault

MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 2, 3600


class Stored(NamedTuple):
    """A command was carried out; `created` tells a new thing from a changed one."""

    created: bool


class NotFound(NamedTuple):
    """A thing that the command names does not exist, or the key may not know of it."""

    what: str


class Conflict(NamedTuple):
    """The command contradicts a rule or what is stored. `field` names the field at fault."""

    detail: str
    field: str


Answer = Stored | NotFound | Conflict


class DeviceDraft(NamedTuple):
    """A device as a client configures it.

    The database sets activated_at unless it is given.
    """

    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    delayed_after_seconds: float | None = None
    stale_after_seconds: float | None = None
    grace_seconds: float | None = None
    activated_at: datetime | None = None


def check_workspace(poll_interval_seconds: int, policy: Policy) -> Conflict | None:
    """Return the refusal that the table's constraints would make, with the field, or None."""
    if not MIN_INTERVAL_SECONDS <= poll_interval_seconds <= MAX_INTERVAL_SECONDS:
        limits = f"from {MIN_INTERVAL_SECONDS} to {MAX_INTERVAL_SECONDS} seconds"
        return Conflict(f"must be {limits}", "poll_interval_seconds")
    return _refuse(check_policy(policy))


def keeps_ordinal(stored: Workspace, *, active: bool, poll_interval_seconds: int) -> bool:
    """Return whether the workspace's ordinal stays as it is; an inactive one goes on without one.

    A workspace needs another ordinal when it becomes active, and when it moves to the series of
    another interval.
    """
    if not active:
        return not stored.active
    return stored.active and stored.poll_interval_seconds == poll_interval_seconds


def check_provider(connection: ProviderConnection) -> Conflict | None:
    expected = connection.expected_update_seconds
    if expected is not None and not expected > 0:
        return Conflict("must be above 0", "expected_update_seconds")
    return _refuse(check_override(connection.override))


def judge_drafts(
    drafts: Sequence[DeviceDraft],
    providers: AbstractSet[str],
    stored: Mapping[str, Device],
    holders: Mapping[tuple[str, str], str],
) -> list[Answer]:
    """Return one answer for each draft. Nothing may be stored unless every answer is `Stored`.

    `holders` maps (provider_id, external_id) of each active device to its device_id. An external id
    that another device of the same command gives up still counts as taken: the caller has to send
    two commands.
    """
    answers: list[Answer] = []
    seen_ids: set[str] = set()
    seen_names: set[tuple[str, str]] = set()
    for draft in drafts:
        name = (draft.provider_id, draft.external_id)
        answers.append(
            _judge_draft(draft, providers, stored, holders.get(name), seen_ids, seen_names)
        )
        seen_ids.add(draft.device_id)
        seen_names.add(name)
    return answers


def _judge_draft(
    draft: DeviceDraft,
    providers: AbstractSet[str],
    stored: Mapping[str, Device],
    holder: str | None,
    seen_ids: AbstractSet[str],
    seen_names: AbstractSet[tuple[str, str]],
) -> Answer:
    if draft.provider_id not in providers:
        return NotFound(f"provider {draft.provider_id}")
    if draft.device_id in seen_ids:
        return Conflict(f"device {draft.device_id} is given twice", "device_id")
    if (draft.provider_id, draft.external_id) in seen_names:
        return Conflict(f"external id {draft.external_id} is given twice", "external_id")
    if holder is not None and holder != draft.device_id:
        return Conflict(
            f"external id {draft.external_id} belongs to active device {holder}", "external_id"
        )
    return _refuse(check_override(_override_of(draft))) or Stored(
        created=draft.device_id not in stored
    )


def apply_draft(
    workspace_id: str, draft: DeviceDraft, stored: Device | None, now: datetime
) -> Device:
    """Return the device that the draft makes.

    A new device, or one that was retired, is active from now unless the draft says when.
    """
    starts = now if stored is None or stored.retired_at is not None else stored.activated_at
    return Device(
        workspace_id=workspace_id,
        device_id=draft.device_id,
        provider_id=draft.provider_id,
        external_id=draft.external_id,
        vehicle_id=draft.vehicle_id,
        vehicle_name=draft.vehicle_name,
        activated_at=draft.activated_at or starts,
        override=_override_of(draft),
    )


def list_changed_devices(
    workspace_id: str, drafts: Sequence[DeviceDraft], stored: Mapping[str, Device], now: datetime
) -> list[Device]:
    """Return the devices that the drafts make, except those stored like that already."""
    reached = [
        apply_draft(workspace_id, draft, stored.get(draft.device_id), now) for draft in drafts
    ]
    return [device for device in reached if device != stored.get(device.device_id)]


def retire(device: Device, now: datetime) -> Device:
    """Return the device as retired now.

    A device that is retired already keeps its first instant.
    """
    return device if device.retired_at is not None else replace(device, retired_at=now)


def _override_of(draft: DeviceDraft) -> PolicyOverride:
    return PolicyOverride(
        draft.delayed_after_seconds, draft.stale_after_seconds, draft.grace_seconds
    )


def _refuse(faults: Sequence[ThresholdFault]) -> Conflict | None:
    return Conflict(faults[0].detail, faults[0].field) if faults else None
