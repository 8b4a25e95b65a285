"""Poll cycles, on the twin.

Here too, a session that is over changes nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.indicators import count_at_end
from domain.schedule import cycle_id as make_cycle_id
from ports.cycles import AbandonedCycle, CycleHistory, CycleStart
from ports.reads import CycleRow
from storage.cycle_starts import next_attempt, refused
from storage.cycles import abandoned
from storage.faults import explain_error
from storage.memory.counting import count_devices, count_devices_at
from storage.memory.sessions import is_live
from storage.memory.tables import PollCycleRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import SessionRef
    from ports.cycles import WantedCycle
    from storage.memory.engine import Engine
    from storage.memory.tables import Tables


class MemoryCycleStore:
    """ports.cycles.CycleStore and ports.cycles.CyclesInBulk."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start_cycle(self, session: SessionRef, wanted: WantedCycle) -> CycleStart:
        async with self._engine.writing() as tables:
            return _start(tables, session, wanted, self._engine.now())

    async def start_cycles(
        self, session: SessionRef, wanted: Sequence[WantedCycle]
    ) -> list[CycleStart | None]:
        """No turn is taken: on the twin, transactions run one after the other."""
        async with self._engine.writing() as tables:
            if any(tables.workspaces.get((one.key.workspace_id,)) is None for one in wanted):
                return [None] * len(wanted)
            now = self._engine.now()
            return [_start(tables, session, one, now) for one in wanted]

    async def look_back(self, workspace_id: str) -> CycleHistory:
        (history,) = await self.look_back_at([workspace_id])
        return history

    async def look_back_at(self, workspace_ids: Sequence[str]) -> list[CycleHistory]:
        await self._engine.arrive()
        return [_look_back(self._engine.tables, workspace_id) for workspace_id in workspace_ids]

    async def record_missed(
        self, session: SessionRef, workspace_id: str, slots: Sequence[datetime]
    ) -> None:
        async with self._engine.writing() as tables:
            if not is_live(tables, session):
                return
            for slot in slots:
                if _attempts(tables, workspace_id, slot):
                    continue
                key = CycleKey(workspace_id, slot, CycleTrigger.SCHEDULE, 1)
                name = make_cycle_id(key)
                row = CycleRow(
                    key,
                    name,
                    name,
                    session.shard_id,
                    None,
                    None,
                    None,
                    CycleOutcome.MISSED,
                    {},
                    *count_devices_at(tables, workspace_id, slot),
                )
                _insert(tables, PollCycleRow(row, session.epoch))

    async def record_all_missed(
        self, session: SessionRef, missed: Mapping[str, Sequence[datetime]]
    ) -> frozenset[str]:
        for workspace_id, slots in missed.items():
            await self.record_missed(session, workspace_id, slots)
        return frozenset(missed)

    async def abandon_orphans(self, session: SessionRef, workspace_id: str) -> list[AbandonedCycle]:
        async with self._engine.writing() as tables:
            if not is_live(tables, session):
                return []
            now = self._engine.now()
            orphans = [
                cycle
                for cycle in tables.poll_cycles.of(workspace_id).values()
                if cycle.row.outcome is CycleOutcome.RUNNING
            ]
            for cycle in orphans:
                slot = cycle.row.key.slot_start_at
                devices = count_devices(tables, tables.device_state.get, workspace_id, slot, now)
                counted = count_at_end(slot, now, *devices)
                row = cycle.row._replace(
                    outcome=CycleOutcome.ABANDONED,
                    ended_at=now,
                    active_devices=counted[0],
                    fresh_devices=counted[1],
                    updated_devices=counted[2],
                )
                tables.put_cycle(cycle._replace(row=row))
            rows = [cycle.row for cycle in orphans]
            return [abandoned(row.trace_id, row.key, row.cycle_id, now) for row in rows]

    async def find_silent_connections(
        self, workspace_id: str, stale_after_seconds: Mapping[str, float]
    ) -> frozenset[str]:
        await self._engine.arrive()
        tables, now = self._engine.tables, self._engine.now()
        silent = set()
        for key, device in tables.devices.of(workspace_id).items():
            limit = stale_after_seconds.get(device.provider_id)
            if limit is None or device.retired_at is not None:
                continue
            state = tables.device_state.get(key)
            heard_at = state and state.last_update_received_at
            if heard_at is None or heard_at < now - timedelta(seconds=limit):
                silent.add(device.provider_id)
        return frozenset(silent)

    async def take_requested_cycle(
        self, session: SessionRef, workspace_id: str, config_version: int
    ) -> CycleStart | None:
        async with self._engine.writing() as tables:
            workspace = tables.workspaces.get((workspace_id,))
            if (
                not is_live(tables, session)
                or workspace is None
                or workspace.config_version != config_version
            ):
                return None
            cycles = tables.poll_cycles.of(workspace_id).values()
            waiting = [cycle.row for cycle in cycles if cycle.row.outcome == "requested"]
            if not waiting:
                return None
            row = min(waiting, key=_requested_at)._replace(
                outcome=CycleOutcome.RUNNING,
                started_at=self._engine.now(),
                shard_id=session.shard_id,
            )
            tables.put_cycle(PollCycleRow(row, session.epoch))
            return CycleStart(True, row.key, row.cycle_id, row.trace_id, row.started_at)


def _start(tables: Tables, session: SessionRef, wanted: WantedCycle, now: datetime) -> CycleStart:
    key, workspace_id = wanted.key, wanted.key.workspace_id
    if not is_live(tables, session):
        return refused(wanted)
    attempts = _attempts(tables, workspace_id, key.slot_start_at)
    if key.trigger is not CycleTrigger.MANUAL and any(map(_closes_its_slot, attempts)):
        return refused(wanted)
    last_attempt = max(
        (row.key.attempt for row in attempts if row.key.trigger is key.trigger), default=0
    )
    start = next_attempt(key, wanted.cycle_id, last_attempt)
    if (workspace_id, start.cycle_id) in tables.cycle_ids:
        return refused(wanted)
    started_at = now if wanted.due_at is None else max(now, wanted.due_at)
    begun = (start.key, start.cycle_id, wanted.trace_id, session.shard_id, None, started_at)
    row = CycleRow(*begun, None, CycleOutcome.RUNNING, {})
    if wanted.skipped is not None:
        slot = key.slot_start_at
        devices = count_devices(tables, tables.device_state.get, workspace_id, slot, now)
        started_at = wanted.due_at or now
        begun = (*begun[:-1], started_at)
        row = CycleRow(*begun, started_at, CycleOutcome.SKIPPED, wanted.skipped, *devices)
    _insert(tables, PollCycleRow(row, session.epoch))
    return start._replace(trace_id=wanted.trace_id, started_at=started_at)


def _look_back(tables: Tables, workspace_id: str) -> CycleHistory:
    cycles = [cycle.row for cycle in tables.poll_cycles.of(workspace_id).values()]
    outcomes = {cycle.outcome for cycle in cycles}
    slots = [row.key.slot_start_at for row in cycles if row.key.trigger is not CycleTrigger.MANUAL]
    return CycleHistory(
        CycleOutcome.RUNNING in outcomes, "requested" in outcomes, max(slots, default=None)
    )


def _attempts(tables: Tables, workspace_id: str, slot: datetime) -> list[CycleRow]:
    return [
        cycle.row
        for key, cycle in tables.poll_cycles.of(workspace_id).items()
        if key.slot_start_at == slot
    ]


def _closes_its_slot(row: CycleRow) -> bool:
    return row.outcome is CycleOutcome.COMPLETED and row.key.trigger is not CycleTrigger.MANUAL


def _insert(tables: Tables, cycle: PollCycleRow) -> None:
    if tables.workspaces.get((cycle.row.key.workspace_id,)) is None:
        constraint = "poll_cycles_workspace_fkey"
        raise explain_error("23503", constraint, f"violates foreign key constraint {constraint}")
    tables.put_cycle(cycle)


def _requested_at(row: CycleRow) -> datetime:
    assert row.requested_at is not None  # noqa: S101 every request has one
    return row.requested_at
