"""Cycles whose record was written but whose answer was lost: none stays `running` for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import trio

from actors.workspace import WorkspaceActor
from storage.faults import DatabaseAway
from tests.actors.harness import HARBOUR
from tests.actors.instants import INTERVAL
from tests.actors.working import story

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trio.testing import MockClock

    from actors.fleet import FleetView
    from ports.cycles import CycleStart
    from storage.memory.store import MemoryStore
    from tests.actors.harness import Harness, Shard

T = TypeVar("T")


class ForgetfulCycles:
    """The twin's cycles. The first `losses` answers to a start get lost behind its record."""

    def __init__(self, store: MemoryStore, losses: int = 1) -> None:
        self._store = store
        self._losses = losses
        self.record_missed, self.abandon_orphans = store.record_missed, store.abandon_orphans
        self.look_back = store.look_back
        self.find_silent_connections = store.find_silent_connections

    async def start_cycle(self, *args: Any) -> CycleStart:
        return await self._lose(self._store.start_cycle(*args))

    async def take_requested_cycle(self, *args: Any) -> CycleStart | None:
        started = await self._store.take_requested_cycle(*args)
        return started if started is None else await self._lose(_resolved(started))

    async def _lose(self, answer: Awaitable[T]) -> T:
        value = await answer
        if self._losses:
            self._losses -= 1
            raise DatabaseAway("the answer was lost", retry_after=0.1)
        return value


async def _resolved(value: T) -> T:
    return value


@pytest.fixture
async def view(shard: Shard, nursery: trio.Nursery) -> FleetView:
    nursery.start_soon(shard.ingest.run)
    return await shard.view()


def forgetful(harness: Harness, shard: Shard, view: FleetView, losses: int = 1) -> WorkspaceActor:
    cycles = ForgetfulCycles(harness.store, losses)
    return WorkspaceActor(view, shard.session, cycles, shard.tools)


@pytest.mark.parametrize("losses", [1, 3])
async def test_a_regular_cycle_is_attempted_again(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    view: FleetView,
    losses: int,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(forgetful(harness, shard, view, losses).run)
    await trio.sleep(INTERVAL - 1)
    lost = [("schedule", 1 + number, "abandoned") for number in range(losses)]
    assert await story(harness) == [*lost, ("schedule", 1 + losses, "completed")]


async def test_a_run_that_was_asked_for_is_abandoned_and_says_so(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    view: FleetView,
    autojump_clock: MockClock,
) -> None:
    await harness.store.request_cycle(HARBOUR, "trace-of-the-operator")
    await shard.reload(view)
    nursery.start_soon(forgetful(harness, shard, view).run)
    await trio.sleep(5)
    assert ("manual", 1, "abandoned") in await story(harness)
