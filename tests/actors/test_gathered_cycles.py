"""The starts of many workspaces in one transaction, and what is asked about alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actors.gathered_cycles import GatheredCycles
from domain.cycles import CycleKey, CycleTrigger
from domain.schedule import cycle_id
from ports.cycles import WantedCycle
from tests.actors.harness import HARBOUR
from tests.actors.instants import at
from tests.actors.working import ISLAND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trio.testing import MockClock

    from domain.model import SessionRef
    from ports.cycles import CycleHistory, CycleStart
    from tests.actors.harness import Harness, Shard

SUMMARY = {"skipped": "nothing to collect"}


class Bulk:
    """The twin in bulk. It counts its calls, and leaves `busy` workspaces out."""

    def __init__(self, harness: Harness, *busy: str) -> None:
        self.starts: list[list[str]] = []
        self.looks: list[list[str]] = []
        self.missed: list[list[str]] = []
        self._store = harness.store
        self._busy = busy

    async def start_cycles(
        self, session: SessionRef, wanted: Sequence[WantedCycle]
    ) -> list[CycleStart | None]:
        self.starts.append(sorted(one.key.workspace_id for one in wanted))
        free = [one for one in wanted if one.key.workspace_id not in self._busy]
        started = iter(await self._store.start_cycles(session, free))
        return [None if one.key.workspace_id in self._busy else next(started) for one in wanted]

    async def record_all_missed(
        self, session: SessionRef, missed: Mapping[str, Sequence[datetime]]
    ) -> frozenset[str]:
        self.missed.append(sorted(missed))
        free = {name: slots for name, slots in missed.items() if name not in self._busy}
        return await self._store.record_all_missed(session, free)

    async def look_back_at(self, workspace_ids: Sequence[str]) -> list[CycleHistory]:
        self.looks.append(sorted(workspace_ids))
        return await self._store.look_back_at(workspace_ids)


def wanted(workspace_id: str, seconds: float = 1, **rest: Any) -> WantedCycle:
    key = CycleKey(workspace_id, at(0), CycleTrigger.SCHEDULE, 1)
    return WantedCycle(key, cycle_id(key), "trace-c", at(seconds))._replace(**rest)


async def start_both(shard: Shard, cycles: GatheredCycles, **rest: Any) -> dict[str, CycleStart]:
    await shard.harness.add_workspace(ISLAND)
    starts: dict[str, CycleStart] = {}

    async def start(workspace_id: str) -> None:
        starts[workspace_id] = await cycles.start_cycle(shard.session, wanted(workspace_id, **rest))

    async with trio.open_nursery() as nursery:
        for workspace_id in (HARBOUR, ISLAND):
            nursery.start_soon(start, workspace_id)
    return starts


async def test_starts_of_one_moment_are_one_transaction(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    bulk = Bulk(harness)
    starts = await start_both(shard, GatheredCycles(harness.store, bulk))
    assert bulk.starts == [[HARBOUR, ISLAND]]
    assert {one.started_at for one in starts.values()} == {at(1)}
    assert [str(row.outcome) for row in await harness.cycles(ISLAND)] == ["running"]


async def test_a_busy_workspace_is_asked_about_alone(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    bulk = Bulk(harness, HARBOUR)
    starts = await start_both(shard, GatheredCycles(harness.store, bulk))
    assert [one.started for one in starts.values()] == [True, True]
    assert bulk.starts == [[HARBOUR, ISLAND]]


async def test_skipped_cycles_are_recorded_together_as_ended(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    bulk = Bulk(harness)
    await start_both(shard, GatheredCycles(harness.store, bulk), skipped=SUMMARY)
    (row,) = await harness.cycles()
    assert bulk.starts == [[HARBOUR, ISLAND]]
    assert (str(row.outcome), row.started_at, row.ended_at) == ("skipped", at(1), at(1))
    assert (row.summary, row.active_devices) == (SUMMARY, 4)


async def test_histories_are_read_together(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    bulk = Bulk(harness)
    cycles = GatheredCycles(harness.store, bulk)
    await cycles.start_cycle(shard.session, wanted(HARBOUR))
    found: dict[str, CycleHistory] = {}

    async def look(workspace_id: str) -> None:
        found[workspace_id] = await cycles.look_back(workspace_id)

    async with trio.open_nursery() as nursery:
        for workspace_id in (HARBOUR, ISLAND):
            nursery.start_soon(look, workspace_id)
    assert bulk.looks == [[HARBOUR, ISLAND]]
    assert found == {HARBOUR: (True, False, at(0)), ISLAND: (False, False, None)}


async def test_missed_slots_are_recorded_together_or_alone(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    await harness.add_workspace(ISLAND)
    bulk = Bulk(harness, HARBOUR)
    cycles = GatheredCycles(harness.store, bulk)
    async with trio.open_nursery() as nursery:
        for workspace_id in (HARBOUR, ISLAND):
            nursery.start_soon(cycles.record_missed, shard.session, workspace_id, [at(0)])
    assert bulk.missed == [[HARBOUR, ISLAND]]
    for workspace_id in (HARBOUR, ISLAND):
        assert [str(row.outcome) for row in await harness.cycles(workspace_id)] == ["missed"]
