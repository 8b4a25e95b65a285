"""Recording the starts of cycles: any number of workspaces in the same few statements.

Owns the statements between the turns on the workspaces' cycles and the commit; storage/cycles.py
owns the transactions. A cycle that has nothing to collect ends as it starts, in the same row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from domain.cycles import CycleOutcome, CycleTrigger
from domain.schedule import cycle_id as make_cycle_id
from ports.cycles import CycleStart
from storage.queries import bound, sql
from storage.unit.rows import CountedDevices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.cycles import CycleKey
    from domain.model import SessionRef
    from ports.cycles import WantedCycle
    from storage.gateway import Connection


def refused(wanted: WantedCycle) -> CycleStart:
    """Return the answer for a cycle that is not recorded."""
    return CycleStart(False, wanted.key, wanted.cycle_id)


def next_attempt(key: CycleKey, cycle_id: str, last_attempt: int) -> CycleStart:
    """Return the key as asked for, or with the attempt after the last one.

    The id follows the key.
    """
    if last_attempt < key.attempt:
        return CycleStart(True, key, cycle_id)
    raised = key._replace(attempt=last_attempt + 1)
    return CycleStart(True, raised, make_cycle_id(raised))


async def take_free_turns(connection: Connection, workspace_ids: Sequence[str]) -> frozenset[str]:
    """Take the turns on these workspaces' cycles that are free now; return whose they are."""
    rows = await connection.fetch(sql("take_free_turns_on_cycles"), workspace_ids)
    return frozenset(row["workspace_id"] for row in rows if row["is_taken"])


async def record_starts(
    connection: Connection, session: SessionRef, wanted: Sequence[WantedCycle]
) -> list[CycleStart | None]:
    """Return an answer for each, all of different workspaces whose turns are ours.

    The session's row is held. None: the attempt was taken by a transaction without the turn.
    """
    if not wanted:
        return []
    keys = [one.key for one in wanted]
    attempts = await connection.fetch(
        sql("find_attempts"),
        [key.workspace_id for key in keys],
        [key.slot_start_at for key in keys],
        [key.trigger.value for key in keys],
    )
    starts = [
        _decide(one, found["completed"], found["last_attempt"])
        for one, found in zip(wanted, attempts, strict=True)
    ]
    pairs = [pair for pair in zip(wanted, starts, strict=True) if pair[1].started]
    started_at = await _insert(connection, session, pairs) if pairs else {}
    return [
        start if not start.started else _as_stored(start, started_at.get(start.key.workspace_id))
        for start in starts
    ]


def _decide(wanted: WantedCycle, is_completed: bool, last_attempt: int) -> CycleStart:
    """Return the start to record. A slot with a completed cycle is closed for the schedule."""
    if is_completed and wanted.key.trigger is not CycleTrigger.MANUAL:
        return refused(wanted)
    start = next_attempt(wanted.key, wanted.cycle_id, last_attempt)
    return start._replace(trace_id=wanted.trace_id)


def _as_stored(start: CycleStart, started_at: datetime | None) -> CycleStart | None:
    return None if started_at is None else start._replace(started_at=started_at)


async def _insert(
    connection: Connection,
    session: SessionRef,
    pairs: Sequence[tuple[WantedCycle, CycleStart]],
) -> Mapping[str, datetime]:
    """Insert the rows; return when each cycle starts, by its workspace."""
    skipped = [start.key[:2] for one, start in pairs if one.skipped is not None]
    counts = await _count_devices(connection, skipped) if skipped else {}
    counted = [counts.get(start.key.workspace_id, (None, None, None)) for _, start in pairs]
    rows = await connection.fetch(
        *bound(
            "start_cycles",
            **session._asdict(),
            workspace_ids=[start.key.workspace_id for _, start in pairs],
            slots=[start.key.slot_start_at for _, start in pairs],
            triggers=[start.key.trigger.value for _, start in pairs],
            attempts=[start.key.attempt for _, start in pairs],
            cycle_ids=[start.cycle_id for _, start in pairs],
            trace_ids=[start.trace_id for _, start in pairs],
            due_at=[one.due_at for one, _ in pairs],
            outcomes=[_outcome(one) for one, _ in pairs],
            summaries=[orjson.dumps(one.skipped or {}).decode() for one, _ in pairs],
            active_devices=[active for active, _, _ in counted],
            fresh_devices=[fresh for _, fresh, _ in counted],
            updated_devices=[updated for _, _, updated in counted],
        )
    )
    return {row["workspace_id"]: row["started_at"] for row in rows}


def _outcome(wanted: WantedCycle) -> str:
    return (CycleOutcome.RUNNING if wanted.skipped is None else CycleOutcome.SKIPPED).value


async def _count_devices(
    connection: Connection, keys: Sequence[tuple[str, datetime]]
) -> Mapping[str, tuple[int, int, int]]:
    """Return the counts of the workspaces' devices, for cycles of these slots that end now."""
    ordered = sorted(keys)  # as count_devices returns
    workspace_ids = [workspace_id for workspace_id, _ in ordered]
    rows = await connection.fetch(
        sql("count_devices"), workspace_ids, [slot for _, slot in ordered]
    )
    counted = map(CountedDevices._make, rows)
    return {
        workspace_id: (found.active, found.fresh, found.updated)
        for workspace_id, found in zip(workspace_ids, counted, strict=True)
    }
