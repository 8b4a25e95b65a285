"""Applies answers of legacy registries to the devices of their workspaces, each in one transaction.

Owns that transaction: lock the workspace's row, compare the answer with what is stored
(domain/legacy_sync.py, domain/legacy_settling.py), write what changes, append it to the history.
The number of statements does not depend on the size of the fleet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from domain.changes import device_change, sync_change
from domain.cutover import RegistrySource
from domain.device_changes import Registered, plan_changes
from domain.legacy_settling import SettledSync, count_sync, settle_sync
from domain.legacy_sync import (
    RETURNS_WITHIN,
    HeldBack,
    HeldBackWhy,
    NotSynced,
    RefusedDevice,
    RegistryAnswer,
    SyncedDevice,
    SyncMemory,
    SyncOutcome,
    SyncPlan,
    is_outdated,
    plan_sync,
    recall,
)
from domain.model import Workspace
from domain.registry import Archived, DeviceDraft
from ports.legacy_syncs import MAX_LISTED, SyncReport
from storage.changes import record_changes, record_whole
from storage.queries import bound, sql
from storage.registry.devices import (
    correct_assignments,
    describe_changes,
    load_registered,
    read_clock,
    write_drafts,
)
from storage.registry.workspaces import lock_workspace
from storage.rows import to_device

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from domain.changes import ConfiguredChange
    from ports.legacy import LegacyRegistry
    from ports.legacy_syncs import SyncOrder
    from storage.gateway import Connection, Database
    from storage.rows import Row

MAX_DETAIL_CHARACTERS: Final = 500
NOTHING_KNOWN: Final = Registered({}, {}, {}, {}, {})


class PostgresLegacySyncs:
    """ports.legacy_syncs.LegacySyncStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply_answer(
        self, workspace_id: str, answer: LegacyRegistry, order: SyncOrder
    ) -> SyncReport:
        async def work(connection: Connection) -> SyncReport:
            return await _apply(connection, workspace_id, answer, order)

        return await self._database.run(work)

    async def note_failure(
        self, workspace_id: str, outcome: SyncOutcome, detail: str, order: SyncOrder
    ) -> SyncReport:
        call = bound(
            "note_failed_sync",
            workspace_id=workspace_id,
            cutover_revision=order.revision,
            outcome=outcome.value,
            detail=detail.replace("\0", "")[:MAX_DETAIL_CHARACTERS],
        )

        async def work(connection: Connection) -> SyncReport:
            if not await _may_write(connection, order):
                return SyncReport(NotSynced.FENCED, await read_clock(connection))
            row = await connection.fetchrow(*call)
            if row is None:
                return SyncReport(NotSynced.CHANGED, await read_clock(connection))
            return to_sync_report(row)

        return await self._database.run(work)

    async def get_sync(self, workspace_id: str) -> SyncReport | None:
        async def work(connection: Connection) -> Any:
            return await connection.fetchrow(sql("get_legacy_sync"), workspace_id)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        row = await self._database.run(work, in_transaction=False)
        return None if row is None else to_sync_report(row)


class _Prepared(NamedTuple):
    """What is to be written, and the registry as it is before."""

    plan: SyncPlan
    settled: SettledSync
    known: Registered


async def _apply(
    connection: Connection, workspace_id: str, answer: LegacyRegistry, order: SyncOrder
) -> SyncReport:
    workspace = await lock_workspace(connection, workspace_id)
    now = await read_clock(connection)
    if isinstance(workspace, Archived):
        return SyncReport(NotSynced.ARCHIVED, now)
    if not isinstance(workspace, Workspace) or not _is_asked_for(workspace, order):
        return SyncReport(NotSynced.CHANGED, now)
    row = await connection.fetchrow(sql("get_legacy_sync"), workspace_id)
    if row is not None and is_outdated(answer.answered_at, row["answered_at"], now):
        return SyncReport(NotSynced.OUTDATED, now, row["answered_at"])
    memory = recall(None if row is None else _to_memory(row), order.revision)
    prepared = await _prepare(connection, workspace_id, answer, memory, now, order)
    if order.dry_run:
        changes = plan_changes(workspace_id, prepared.settled.drafts, prepared.known, now)
        counts = count_sync(*prepared[:2], changes, prepared.known)
        return _report(prepared, counts, now, answer.answered_at)
    if not await _may_write(connection, order):
        return SyncReport(NotSynced.FENCED, now)
    counts = await _write(connection, workspace_id, prepared, order)
    report = _report(prepared, counts, now, answer.answered_at)
    await _save(connection, workspace_id, prepared.plan, report, order)
    return report


def _is_asked_for(workspace: Workspace, order: SyncOrder) -> bool:
    """Return whether the flags and the legacy system are those under which it was asked."""
    source = workspace.cutover.device_registry_source
    return source is RegistrySource.LEGACY_SYNC and workspace.cutover_revision == order.revision


async def _may_write(connection: Connection, order: SyncOrder) -> bool:
    """Return whether the session is live, and hold its row. A command of a person needs none."""
    if order.session is None:
        return True
    return await connection.fetchrow(sql("hold_session"), *order.session) is not None


async def _prepare(
    connection: Connection,
    workspace_id: str,
    answer: LegacyRegistry,
    memory: SyncMemory,
    now: datetime,
    order: SyncOrder,
) -> _Prepared:
    rows = await connection.fetch(sql("list_providers"), workspace_id, None, None, False)
    vins = {row["provider_id"]: row["ids_are_vins"] for row in rows}
    since = now - RETURNS_WITHIN
    stored = await connection.fetch(sql("list_synced_devices"), workspace_id, since)
    plan = plan_sync(
        RegistryAnswer(
            [DeviceDraft(*device) for device in answer.devices],
            is_complete=answer.unfit_count == 0,
            has_our_ids=answer.has_our_ids,
        ),
        (SyncedDevice(*row) for row in stored),
        memory,
        vins,
        now,
        forced=order.force is not None,
    )
    drafts = [*plan.drafts, *plan.returning]
    known = NOTHING_KNOWN
    if drafts:
        known = await load_registered(connection, workspace_id, drafts)
    return _Prepared(plan, settle_sync(plan, known, now), known)


# Writing


async def _write(
    connection: Connection, workspace_id: str, prepared: _Prepared, order: SyncOrder
) -> dict[str, int]:
    """Write what changes, and return the counts. Writes nothing if nothing changes."""
    plan, settled, known = prepared
    entries, changes = [], []
    # First what frees units, then what takes them.
    if plan.retiring:
        entries += await _retire(connection, workspace_id, plan.retiring)
    if settled.returning:
        entries += await _return(connection, workspace_id, settled.returning, known)
    if settled.drafts:
        changes = await write_drafts(connection, workspace_id, settled.drafts, known)
        entries += describe_changes(changes, known)
    counts = count_sync(plan, settled, changes, known)
    if entries:
        force = None if order.force is None else order.force._asdict()
        whole = sync_change(workspace_id, counts, force)
        part_of = await record_whole(connection, workspace_id, order.by, whole)
        await record_changes(connection, workspace_id, order.by, entries, part_of=part_of)
        await connection.execute(sql("bump_config"), workspace_id)
    return counts


async def _retire(
    connection: Connection, workspace_id: str, retiring: Iterable[str]
) -> list[ConfiguredChange]:
    rows = await connection.fetch(sql("retire_left_out"), workspace_id, sorted(retiring))
    retired = [to_device(row) for row in rows]
    ids, ends = [one.device_id for one in retired], [one.retired_at for one in retired]
    await connection.execute(sql("end_assignments"), workspace_id, ids, ends)
    return [device_change(replace(one, retired_at=None), one) for one in retired]


async def _return(
    connection: Connection, workspace_id: str, returning: Iterable[DeviceDraft], known: Registered
) -> list[ConfiguredChange]:
    drafts = list(returning)
    call = bound(
        "return_devices",
        workspace_id=workspace_id,
        device_id=[draft.device_id for draft in drafts],
        external_id=[draft.external_id for draft in drafts],
        vehicle_name=[draft.vehicle_name for draft in drafts],
    )
    returned = [to_device(row) for row in await connection.fetch(*call)]
    await correct_assignments(connection, workspace_id, returned, resume=True)
    return [device_change(known.devices[one.device_id], one) for one in returned]


async def _save(
    connection: Connection, workspace_id: str, plan: SyncPlan, report: SyncReport, order: SyncOrder
) -> None:
    call = bound(
        "save_legacy_sync",
        workspace_id=workspace_id,
        cutover_revision=order.revision,
        left_out=orjson.dumps(sorted(plan.left_out)).decode(),
        doubted=plan.doubted,
        answered_at=report.answered_at,
        synced_at=report.synced_at,
        outcome=report.outcome.value,
        counts=orjson.dumps(report.counts).decode(),
        held_back=_dump(report.held_back),
        refused=_dump(report.refused),
    )
    await connection.execute(*call)


# Rows and reports


def _report(
    prepared: _Prepared, counts: dict[str, int], now: datetime, answered_at: datetime
) -> SyncReport:
    return SyncReport(
        prepared.plan.outcome,
        now,
        answered_at,
        counts=counts,
        held_back=prepared.plan.held_back[:MAX_LISTED],
        refused=prepared.settled.refused[:MAX_LISTED],
    )


def _dump(listed: Iterable[HeldBack | RefusedDevice]) -> str:
    return orjson.dumps([one._asdict() for one in listed]).decode()


def _to_memory(row: Row) -> SyncMemory:
    left_out = frozenset(orjson.loads(row["left_out"]))
    return SyncMemory(row["cutover_revision"], left_out, row["doubted"])


def to_sync_report(row: Row) -> SyncReport:
    """Return what a row of legacy_syncs says of the newest attempt."""
    held_back = [
        HeldBack(one["device_id"], one["vehicle_id"], HeldBackWhy(one["why"]))
        for one in orjson.loads(row["held_back"])
    ]
    return SyncReport(
        SyncOutcome(row["outcome"]),
        row["synced_at"],
        row["answered_at"],
        row["detail"],
        orjson.loads(row["counts"]),
        held_back,
        [RefusedDevice(**one) for one in orjson.loads(row["refused"])],
    )
