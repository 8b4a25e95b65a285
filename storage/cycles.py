"""Poll cycles: start them, record missed ones, abandon orphans, take requests.

The ingest unit writes how a cycle ends, together with the cycle's data. Every change here first
takes its turn on the workspace's cycles and then holds the session's row in share mode. So a shard
that was declared dead writes nothing here either. And a shard that abandons the cycles of others
finds every start, even one whose COMMIT was not answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.indicators import count_at_end
from domain.schedule import cycle_id as make_cycle_id
from ports.cycles import AbandonedCycle, CycleHistory, CycleStart
from ports.ingest import RowsLocked, UnitPoisoned
from storage.cycle_starts import record_starts, refused, take_free_turns
from storage.faults import DatabaseAway, DatabaseRefused
from storage.queries import bound, sql
from storage.rows import to_cycle_key
from storage.unit.rows import CountedDevices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.indicators import DeviceCounts, NoCounts
    from domain.model import SessionRef
    from ports.cycles import WantedCycle
    from storage.gateway import Connection, Database

MAX_ATTEMPT_RACES = 10


class PostgresCycleStore:
    """ports.cycles.CycleStore and ports.cycles.CyclesInBulk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start_cycle(self, session: SessionRef, wanted: WantedCycle) -> CycleStart:
        async def work(connection: Connection) -> CycleStart:
            if await _hold(connection, session, wanted.key.workspace_id):
                for _ in range(MAX_ATTEMPT_RACES):
                    (start,) = await record_starts(connection, session, [wanted])
                    if start is not None:
                        return start
            return refused(wanted)

        return await self._database.run(work)

    async def start_cycles(
        self, session: SessionRef, wanted: Sequence[WantedCycle]
    ) -> list[CycleStart | None]:
        async def work(connection: Connection) -> list[CycleStart | None]:
            names = [one.key.workspace_id for one in wanted]
            ours = await take_free_turns(connection, names)
            if not await _is_live(connection, session):
                return [refused(one) for one in wanted]
            mine = [one for one in wanted if one.key.workspace_id in ours]
            starts = iter(await record_starts(connection, session, mine))
            return [next(starts) if name in ours else None for name in names]

        try:
            return await self._database.run(work)
        except (RowsLocked, UnitPoisoned, DatabaseRefused):
            # Nothing was written. Perhaps one workspace is the reason, so each is asked for alone.
            return [None] * len(wanted)

    async def look_back(self, workspace_id: str) -> CycleHistory:
        (history,) = await self.look_back_at([workspace_id])
        return history

    async def look_back_at(self, workspace_ids: Sequence[str]) -> list[CycleHistory]:
        async def work(connection: Connection) -> list[CycleHistory]:
            ours = await take_free_turns(connection, workspace_ids)
            rows = await connection.fetch(sql("look_back"), workspace_ids)
            return [
                CycleHistory(
                    row["has_running"] or row["workspace_id"] not in ours,
                    row["is_requested"],
                    row["last_slot"],
                )
                for row in rows
            ]

        return await self._database.run(work)

    async def record_missed(
        self, session: SessionRef, workspace_id: str, slots: Sequence[datetime]
    ) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(sql("take_turn_on_cycles"), workspace_id)
            await _record_missed(connection, session, [(workspace_id, slot) for slot in slots])

        await self._database.run(work)

    async def record_all_missed(
        self, session: SessionRef, missed: Mapping[str, Sequence[datetime]]
    ) -> frozenset[str]:
        async def work(connection: Connection) -> frozenset[str]:
            ours = await take_free_turns(connection, list(missed))
            pairs = [
                (name, slot) for name, slots in missed.items() if name in ours for slot in slots
            ]
            await _record_missed(connection, session, pairs)
            return ours

        try:
            return await self._database.run(work)
        except (RowsLocked, UnitPoisoned, DatabaseRefused):
            return frozenset()  # nothing was written: each is recorded alone
        except DatabaseAway:
            if len(missed) == 1:
                raise
            return frozenset()  # perhaps too much for one statement's time

    async def abandon_orphans(self, session: SessionRef, workspace_id: str) -> list[AbandonedCycle]:
        async def work(connection: Connection) -> list[AbandonedCycle]:
            if not await _hold(connection, session, workspace_id):
                return []
            orphans = await connection.fetch(sql("find_orphans"), workspace_id)
            if not orphans:
                return []
            slots = [row["slot_start_at"] for row in orphans]
            keys = [workspace_id] * len(slots), slots
            counted = await connection.fetch(sql("count_devices"), *keys)
            counts = [
                count_at_end(slot, *CountedDevices(*row))
                for slot, row in zip(slots, counted, strict=True)
            ]
            rows = await connection.fetch(
                *bound(
                    "abandon_orphans",
                    workspace_id=workspace_id,
                    cycle_ids=[row["cycle_id"] for row in orphans],
                    **_device_columns(counts),
                )
            )
            return [
                abandoned(row["trace_id"], to_cycle_key(row), row["cycle_id"], row["ended_at"])
                for row in rows
            ]

        return await self._database.run(work)

    async def find_silent_connections(
        self, workspace_id: str, stale_after_seconds: Mapping[str, float]
    ) -> frozenset[str]:
        limits = list(stale_after_seconds), list(stale_after_seconds.values())

        async def work(connection: Connection) -> frozenset[str]:
            rows = await connection.fetch(sql("find_silent_connections"), workspace_id, *limits)
            return frozenset(row["provider_id"] for row in rows)

        return await self._database.run(work, in_transaction=False)

    async def take_requested_cycle(
        self, session: SessionRef, workspace_id: str, config_version: int
    ) -> CycleStart | None:
        async def work(connection: Connection) -> CycleStart | None:
            if not await _hold(connection, session, workspace_id):
                return None
            row = await connection.fetchrow(
                sql("take_requested_cycle"), workspace_id, *session, config_version
            )
            if row is None:
                return None
            return CycleStart(
                True, to_cycle_key(row), row["cycle_id"], row["trace_id"], row["started_at"]
            )

        return await self._database.run(work)


async def _record_missed(
    connection: Connection, session: SessionRef, missed: Sequence[tuple[str, datetime]]
) -> None:
    """Record these slots of workspaces whose turns are ours."""
    workspace_ids, slots = [name for name, _ in missed], [slot for _, slot in missed]
    # Counted before the session's row is held, for which the shard's own units would wait.
    counted = await connection.fetch(sql("count_devices_at"), workspace_ids, slots)
    if missed and await _is_live(connection, session):
        keys = [CycleKey(*pair, CycleTrigger.SCHEDULE, 1) for pair in missed]
        await connection.execute(
            *bound(
                "record_missed",
                workspace_ids=workspace_ids,
                slots=slots,
                cycle_ids=[make_cycle_id(key) for key in keys],
                **_device_columns([(row[1], row[2], row[3]) for row in counted]),
                **session._asdict(),
            )
        )


def abandoned(trace_id: str, key: CycleKey, cycle_id: str, ended_at: datetime) -> AbandonedCycle:
    """Return a cycle that was abandoned: what it collected is not known."""
    return AbandonedCycle(trace_id, CycleEnd(key, cycle_id, ended_at, CycleOutcome.ABANDONED, {}))


async def _hold(connection: Connection, session: SessionRef, workspace_id: str) -> bool:
    """Take the turn on the workspace's cycles, then return whether the session is live.

    Waits for other transactions that have the turn. Turn and session are held until the transaction
    ends.
    """
    await connection.execute(sql("take_turn_on_cycles"), workspace_id)
    return await _is_live(connection, session)


async def _is_live(connection: Connection, session: SessionRef) -> bool:
    """Return whether the session is live, and hold its row until the transaction ends."""
    return await connection.fetchrow(sql("hold_session"), *session) is not None


def _device_columns(counts: Sequence[DeviceCounts | NoCounts]) -> dict[str, list[int | None]]:
    return {
        "active_devices": [active for active, _, _ in counts],
        "fresh_devices": [fresh for _, fresh, _ in counts],
        "updated_devices": [updated for _, _, updated in counts],
    }
