"""What people configured, as documents: the entries of the history of changes.

Owns which fields of a workspace, a connection, a device and a key are in their documents. What the
service notes by itself is not: ordinals, versions, cursors, the last results of calls. A secret is
in no document; a credential is a reference.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from domain.cutover import Cutover
    from domain.guardrails import GuardrailSettings
    from domain.model import Device, ProviderConnection, Result, Workspace
    from domain.parity_gate import GateSettings

    Document = Mapping[str, Any]

T = TypeVar("T")


class ChangeKind(StrEnum):
    """The kind of thing that was changed.

    `import` stands for all devices of one import, `sync` for those that one synchronisation
    changed, `cycle` for a run that was asked for at once, and `replay` for an update that was
    replayed from quarantine.
    """

    WORKSPACE = "workspace"
    POLICY = "policy"
    PROVIDER = "provider"
    DEVICE = "device"
    IMPORT = "import"
    KEY = "key"
    CYCLE = "cycle"
    REPLAY = "replay"
    CUTOVER = "cutover"
    SYNC = "sync"


class Author(NamedTuple):
    """Who gave a command: the key, the command's trace id, and the address it came from."""

    who: str
    trace_id: str | None = None
    address: str | None = None


# The author of commands that no key gave: those of the program itself.
SYSTEM = Author("system")
# The author of what the synchronisation with a legacy registry changes.
LEGACY_SYNC = Author("legacy-sync")


class ConfiguredChange(NamedTuple):
    """One thing that a command changed. `subject` is its id; `before` is None if it is new."""

    kind: ChangeKind
    subject: str
    before: Document | None
    after: Document


class StoredChange(NamedTuple):
    """One entry of the history, as it was written: never changed and never deleted.

    `workspace_id` is None for a key. `part_of` is the entry of the import or sync that a device's
    is part of. `address` is where the command came from, None for the program's own.
    """

    change_id: int
    kind: ChangeKind
    subject: str
    at: datetime
    who: str
    before: Document | None
    after: Document
    trace_id: str | None
    workspace_id: str | None = None
    address: str | None = None
    part_of: int | None = None


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


def import_change(
    workspace_id: str, digest: str, changes: Sequence[ConfiguredChange]
) -> ConfiguredChange:
    """Return the entry that stands for an import: how many devices it changed, and what it was.

    `digest` is the SHA-256 of the imported file, in hex.
    """
    created = sum(1 for change in changes if change.before is None)
    counts = {"created": created, "updated": len(changes) - created}
    return ConfiguredChange(ChangeKind.IMPORT, workspace_id, None, {"sha256": digest, **counts})


def sync_change(
    workspace_id: str, counts: Mapping[str, int], force: Document | None
) -> ConfiguredChange:
    """Return the entry that stands for a synchronisation: what became of how many devices.

    `force` says why a person believed an answer that left out too many.
    """
    forced = {} if force is None else {"force": force}
    return ConfiguredChange(ChangeKind.SYNC, workspace_id, None, {**counts, **forced})


def key_change(key_id: str, before: Document | None, after: Document) -> ConfiguredChange:
    return ConfiguredChange(ChangeKind.KEY, key_id, before, after)


def cycle_change(cycle_id: str) -> ConfiguredChange:
    """Return the entry of a run that somebody asked for at once."""
    return ConfiguredChange(ChangeKind.CYCLE, cycle_id, None, {"when": "now"})


def replay_change(quarantine_id: int, result: Result) -> ConfiguredChange:
    """Return the entry of a replay of a quarantined update, with its outcome."""
    after = {
        "device_id": result.device_id,
        "outcome": result.outcome.value,
        "reason": result.reason and result.reason.value,
        "detail": result.detail,
    }
    return ConfiguredChange(ChangeKind.REPLAY, str(quarantine_id), None, after)


def cutover_change(
    workspace_id: str, before: Document, after: Document, **circumstances: Any
) -> ConfiguredChange:
    """Return the entry of a changed cutover. `circumstances`: members of `after` that say why."""
    return ConfiguredChange(ChangeKind.CUTOVER, workspace_id, before, {**after, **circumstances})


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
        "time_zone": workspace.time_zone,
        "archived_at": workspace.archived_at,
    }


def describe_policy(workspace: Workspace) -> Document:
    return {
        **asdict(workspace.policy),
        "poll_interval_seconds": workspace.poll_interval_seconds,
        "start_offset_seconds": workspace.start_offset_seconds,
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


def describe_cutover(
    flags: Cutover, legacy: Document | None, gate: GateSettings, guardrails: GuardrailSettings
) -> Document:
    return {
        **asdict(flags),
        "legacy": legacy,
        "gate": gate._asdict(),
        "guardrails": guardrails._asdict(),
    }


def describe_key(
    *,
    name: str,
    scopes: Collection[str],
    workspaces: Collection[str] | None,
    expires_at: datetime | None,
    revoked_at: datetime | None,
) -> Document:
    return {
        "name": name,
        "scopes": sorted(scopes),
        "workspaces": None if workspaces is None else sorted(workspaces),
        "expires_at": expires_at,
        "revoked_at": revoked_at,
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
        "tags": list(device.tags),
    }
