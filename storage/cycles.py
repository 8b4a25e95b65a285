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
from ports.cycles import AbandonedCycle, CycleStart
from storage.queries import bound, sql
from storage.rows import to_cycle_key
from storage.unit.rows import CountedDevices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.indicators import DeviceCounts, NoCounts
    from domain.model import SessionRef
    from storage.gateway import Connection, Database

MAX_ATTEMPT_RACES = 10


class PostgresCycleStore:
    """ports.cycles.CycleStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start_cycle(
        self, session: SessionRef, key: CycleKey, cycle_id: str, trace_id: str
    ) -> CycleStart:
        refused = CycleStart(False, key, cycle_id)

        async def work(connection: Connection) -> CycleStart:
            if not await _hold(connection, session, key.workspace_id):
                return refused
            for _ in range(MAX_ATTEMPT_RACES):
                found = await connection.fetchrow(sql("find_attempts"), *key[:3])
                if found is None or (found["completed"] and key.trigger is not CycleTrigger.MANUAL):
                    return refused
                start = next_attempt(key, cycle_id, found["last_attempt"])
                row = {**start.key._asdict(), **session._asdict()}
                ids = {"cycle_id": start.cycle_id, "trace_id": trace_id}
                if stored := await connection.fetchrow(*bound("start_cycle", **row, **ids)):
                    return start._replace(trace_id=trace_id, started_at=stored["started_at"])
            return refused

        return await self._database.run(work)

    async def record_missed(
        self, session: SessionRef, workspace_id: str, slots: Sequence[datetime]
    ) -> None:
        ids = [
            make_cycle_id(CycleKey(workspace_id, slot, CycleTrigger.SCHEDULE, 1)) for slot in slots
        ]

        async def work(connection: Connection) -> None:
            await connection.execute(sql("take_turn_on_cycles"), workspace_id)
            # Counted before the session's row is held, for which the shard's own units would wait.
            counted = await connection.fetch(sql("count_devices_at"), workspace_id, list(slots))
            if await _is_live(connection, session):
                await connection.execute(
                    *bound(
                        "record_missed",
                        workspace_id=workspace_id,
                        slots=list(slots),
                        cycle_ids=ids,
                        **_device_columns([(row[1], row[2], row[3]) for row in counted]),
                        **session._asdict(),
                    )
                )

        await self._database.run(work)

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

    async def load_last_slot(self, workspace_id: str) -> datetime | None:
        """Return the last slot of the schedule.

        Runs on demand have slots of their own and do not count.
        """

        async def work(connection: Connection) -> datetime | None:
            slot: datetime | None = await connection.fetchval(sql("load_last_slot"), workspace_id)
            return slot

        return await self._database.run(work, readonly=True)

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


def abandoned(trace_id: str, key: CycleKey, cycle_id: str, ended_at: datetime) -> AbandonedCycle:
    """Return a cycle that was abandoned: what it collected is not known."""
    return AbandonedCycle(trace_id, CycleEnd(key, cycle_id, ended_at, CycleOutcome.ABANDONED, {}))


def next_attempt(key: CycleKey, cycle_id: str, last_attempt: int) -> CycleStart:
    """Return the key as asked for, or with the attempt after the last one.

    The id follows the key.
    """
    if last_attempt < key.attempt:
        return CycleStart(True, key, cycle_id)
    raised = key._replace(attempt=last_attempt + 1)
    return CycleStart(True, raised, make_cycle_id(raised))


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
