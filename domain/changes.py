"""What people configured, as documents: the entries of the history of changes.

Owns which fields of a workspace, a connection and a device are in their documents. What the service
notes by itself is not: ordinals, versions, cursors, the last results of calls. A secret is in no
document; a credential is a reference.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from domain.model import Device, ProviderConnection, Workspace

    Document = Mapping[str, Any]

T = TypeVar("T")


class ChangeKind(StrEnum):
    """The kind of thing that was changed."""

    WORKSPACE = "workspace"
    POLICY = "policy"
    PROVIDER = "provider"
    DEVICE = "device"


class Author(NamedTuple):
    """The key that gave a command, and the command's trace id."""

    who: str
    trace_id: str | None = None


# The author of commands that no key gave: those of the program itself.
SYSTEM = Author("system")


class ConfiguredChange(NamedTuple):
    """One thing that a command changed. `subject` is its id; `before` is None if it is new."""

    kind: ChangeKind
    subject: str
    before: Document | None
    after: Document


class StoredChange(NamedTuple):
    """One entry of the history, as it was written: never changed and never deleted."""

    change_id: int
    kind: ChangeKind
    subject: str
    at: datetime
    who: str
    before: Document | None
    after: Document
    trace_id: str | None


def workspace_change(before: Workspace | None, after: Workspace) -> ConfiguredChange:
    return _change(ChangeKind.WORKSPACE, after.workspace_id, describe_workspace, before, after)


def policy_change(before: Workspace | None, after: Workspace) -> ConfiguredChange:
    return ConfiguredChange(
        ChangeKind.POLICY,
        after.workspace_id,
        None if before is None else describe_policy(before),
        describe_policy(after),
    )


def workspace_changes(before: Workspace | None, after: Workspace) -> list[ConfiguredChange]:
    """Return what a command changed: the workspace itself, its policy, or both."""
    both = (workspace_change(before, after), policy_change(before, after))
    return [change for change in both if change.before != change.after]


def provider_change(
    before: ProviderConnection | None, after: ProviderConnection
) -> ConfiguredChange:
    return _change(ChangeKind.PROVIDER, after.provider_id, describe_provider, before, after)


def device_change(before: Device | None, after: Device) -> ConfiguredChange:
    return _change(ChangeKind.DEVICE, after.device_id, describe_device, before, after)


def _change(
    kind: ChangeKind,
    subject: str,
    describe: Callable[[T], Document],
    before: T | None,
    after: T,
) -> ConfiguredChange:
    former = None if before is None else describe(before)
    return ConfiguredChange(kind, subject, former, describe(after))


def describe_workspace(workspace: Workspace) -> Document:
    return {
        "name": workspace.name,
        "active": workspace.active,
        "archived_at": workspace.archived_at,
    }


def describe_policy(workspace: Workspace) -> Document:
    return {
        **asdict(workspace.policy),
        "poll_interval_seconds": workspace.poll_interval_seconds,
    }


def describe_provider(connection: ProviderConnection) -> Document:
    return {
        "provider_type": connection.provider_type,
        "transport": connection.transport,
        "base_url": connection.base_url,
        "credential": connection.credential,
        "settings": dict(connection.settings),
        "active": connection.active,
        "expected_update_seconds": connection.expected_update_seconds,
        "period_is_documented": connection.period_is_documented,
        "simulated": connection.simulated,
        "overrides": asdict(connection.override),
        "archived_at": connection.archived_at,
    }


def describe_device(device: Device) -> Document:
    return {
        "provider_id": device.provider_id,
        "external_id": device.external_id,
        "vehicle_id": device.vehicle_id,
        "vehicle_name": device.vehicle_name,
        "assignment": device.assignment,
        "activated_at": device.activated_at,
        "retired_at": device.retired_at,
        "overrides": asdict(device.override),
    }
