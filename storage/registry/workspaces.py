"""Commands on workspaces and their policies. Each runs within its caller's transaction.

Owns places in the schedule, and the lock on the workspace's row that every command on its
configuration takes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from domain.changes import device_change, workspace_changes
from domain.model import Workspace
from domain.registry import (
    ABSENT,
    Archived,
    NotFound,
    Stored,
    check_workspace,
    count_changes,
    find_move,
    keeps_ordinal,
    keeps_place,
    make_workspace,
    place_to_judge,
    refuse_active,
    refuse_place,
)
from storage.changes import record_changes
from storage.queries import bound, sql
from storage.rows import to_device, to_other_starts, to_workspace

if TYPE_CHECKING:
    from domain.changes import Author
    from domain.registry import Conflict, Moved, PolicyDraft, WorkspaceDraft
    from domain.start_offsets import Synchronized
    from storage.gateway import Connection


async def lock_workspace(
    connection: Connection, workspace_id: str
) -> Workspace | NotFound | Archived:
    """Lock the row of a workspace in use, until the end of the transaction."""
    row = await connection.fetchrow(sql("lock_workspace"), workspace_id)
    if row is None:
        return NotFound("workspace")
    workspace = to_workspace(row)
    return workspace if workspace.archived_at is None else Archived("workspace")


async def put_workspace(
    connection: Connection,
    workspace_id: str,
    draft: WorkspaceDraft,
    *,
    expected: int | None,
    by: Author,
) -> Stored | Conflict | Moved | Archived | Synchronized | None:
    """Store the workspace. Returns None if another transaction created it meanwhile."""
    stored = await lock_workspace(connection, workspace_id)
    if isinstance(stored, Archived):
        return stored
    if isinstance(stored, NotFound):
        return find_move(ABSENT, expected) or await _create(connection, workspace_id, draft, by)
    if moved := find_move(stored.revision, expected):
        return moved
    written = await _update(connection, stored, draft.apply(stored), by)
    if not isinstance(written, Workspace):
        return written
    return Stored(created=False, revision=written.revision)


async def put_policy(
    connection: Connection,
    workspace_id: str,
    draft: PolicyDraft,
    *,
    expected: int | None,
    by: Author,
) -> Stored | NotFound | Conflict | Moved | Archived | Synchronized:
    """Store the policy of a workspace, whose revision is one of its own."""
    stored = await lock_workspace(connection, workspace_id)
    if not isinstance(stored, Workspace):
        return stored
    if moved := find_move(stored.policy_revision, expected):
        return moved
    written = await _update(connection, stored, draft.apply(stored), by)
    if not isinstance(written, Workspace):
        return written
    return Stored(created=False, revision=written.policy_revision)


async def archive_workspace(
    connection: Connection, workspace_id: str, *, expected: int | None, by: Author
) -> Workspace | NotFound | Conflict | Moved:
    """Archive an inactive workspace, and retire its devices. Archived again, it stays as it is."""
    row = await connection.fetchrow(sql("lock_workspace"), workspace_id)
    if row is None:
        return NotFound("workspace")
    stored = to_workspace(row)
    refusal = find_move(stored.revision, expected) or refuse_active(stored)
    if refusal is not None or stored.archived_at is not None:
        return refusal or stored
    retired = list(map(to_device, await connection.fetch(sql("retire_devices"), workspace_id)))
    ids, ends = [one.device_id for one in retired], [one.retired_at for one in retired]
    await connection.execute(sql("end_assignments"), workspace_id, ids, ends)
    row = await connection.fetchrow(sql("archive_workspace"), workspace_id)
    assert row is not None  # noqa: S101 it is locked
    archived = to_workspace(row)
    entries = workspace_changes(stored, archived)
    entries += [device_change(replace(one, retired_at=None), one) for one in retired]
    await record_changes(connection, workspace_id, by, entries)
    return archived


async def _create(
    connection: Connection, workspace_id: str, draft: WorkspaceDraft, by: Author
) -> Stored | Conflict | Synchronized | None:
    """Return None if it was created meanwhile.

    This does not wait for the row: its holder may be waiting for the lock on ordinals, which this
    transaction has.
    """
    made = make_workspace(workspace_id, draft)
    refusal = check_workspace(made) or await _judge_place(connection, None, made)
    if refusal is not None:
        return refusal
    ordinal = await _take_ordinal(connection, made) if made.active else None
    row = await connection.fetchrow(
        *bound("create_workspace", **_workspace_values(made), ordinal=ordinal)
    )
    if row is None:
        return None
    await record_changes(connection, workspace_id, by, workspace_changes(None, made))
    return Stored(created=True)


async def _update(
    connection: Connection, stored: Workspace, wanted: Workspace, by: Author
) -> Workspace | Conflict | Synchronized:
    """Write what changes, and return the workspace with its revisions, or why it is refused."""
    refusal = check_workspace(wanted) or await _judge_place(connection, stored, wanted)
    if refusal is not None:
        return refusal
    changes = workspace_changes(stored, wanted)
    if not changes:
        return stored
    counted = count_changes(stored, wanted)
    keeps = keeps_ordinal(
        stored, active=wanted.active, poll_interval_seconds=wanted.poll_interval_seconds
    )
    takes = wanted.active and not keeps
    call = bound(
        "update_workspace",
        **_workspace_values(counted),
        revision=counted.revision,
        policy_revision=counted.policy_revision,
        ordinal=await _take_ordinal(connection, wanted) if takes else None,
        keeps_ordinal=keeps,
        keeps_place=keeps_place(stored, wanted),
    )
    await connection.execute(*call)
    await record_changes(connection, stored.workspace_id, by, changes)
    return counted


async def find_synchronized(
    connection: Connection, stored: Workspace | None, wanted: Workspace
) -> Synchronized | None:
    """Return why the workspace could not move to its explicit place now, or None if it could.

    Takes no lock: another transaction may take the place before the answer is read.
    """
    if place_to_judge(stored, wanted) is None:
        return None
    rows = await connection.fetch(sql("count_other_places"), wanted.workspace_id)
    return refuse_place(stored, wanted, to_other_starts(rows))


async def _judge_place(
    connection: Connection, stored: Workspace | None, wanted: Workspace
) -> Synchronized | None:
    """Return why the workspace cannot move to its explicit place; if it can, the place is its own.

    Waits for other transactions that take a place, so that two never take the last one.
    """
    if place_to_judge(stored, wanted) is None:
        return None
    await connection.execute(sql("lock_ordinals"))
    return await find_synchronized(connection, stored, wanted)


async def _take_ordinal(connection: Connection, workspace: Workspace) -> int:
    """Return the lowest free ordinal of the interval, which is this transaction's if it commits.

    Waits for other transactions that take an ordinal. Once one of them has the lock on ordinals, it
    waits for nothing else.
    """
    await connection.execute(sql("lock_ordinals"))
    interval = workspace.poll_interval_seconds
    ordinal: int = await connection.fetchval(sql("lowest_free_ordinal"), interval)
    return ordinal


def _workspace_values(workspace: Workspace) -> dict[str, str | bool | float | None]:
    return {
        "workspace_id": workspace.workspace_id,
        "name": workspace.name,
        "active": workspace.active,
        "time_zone": workspace.time_zone,
        "poll_interval_seconds": workspace.poll_interval_seconds,
        "start_offset_seconds": workspace.start_offset_seconds,
        "freshness_target_seconds": workspace.policy.freshness_target_seconds,
        "delayed_after_seconds": workspace.policy.delayed_after_seconds,
        "stale_after_seconds": workspace.policy.stale_after_seconds,
        "grace_seconds": workspace.policy.grace_seconds,
    }
