"""The ledger of the ingest actor: few writes, and no refusal lost or written twice."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from domain.model import InvalidItem, Reason, SessionRef
from tests.actors.harness import HARBOUR, STEADY, said, update

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from domain.model import CanonicalUpdate
    from ports.reads import RejectionRow
    from storage.unit.steps import Statement
    from tests.actors.harness import Harness, Shard

TOO_FULL = 102.5


def refused(device_id: str, seconds: float) -> CanonicalUpdate:
    """Return an update with a good speed and a refused state of charge."""
    return update(device_id, seconds, soc_percent=TOO_FULL, speed_kmh=seconds % 90)


async def send(shard: Shard, device_id: str = "bus-1") -> None:
    receipt = await shard.send(refused(device_id, trio.current_time())).wait()
    assert said(receipt) in (["accepted"], ["duplicate"])


async def rows(harness: Harness) -> list[RejectionRow]:
    return await harness.store.list_rejections(HARBOUR, before=None, reason=None, limit=999)


async def counted(harness: Harness) -> int:
    return sum(row.occurrences for row in await rows(harness))


@asynccontextmanager
async def running(shard: Shard) -> AsyncIterator[None]:
    """Run the ingest actor; at the end, let it commit everything and return."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        yield
        shard.ingest.close()


async def test_a_signal_that_is_always_refused_costs_a_write_a_minute(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    writes: list[float] = []

    async def note(statement: Statement) -> None:
        if statement.name == "append_rejections":
            writes.append(trio.current_time())

    harness.store.before_each_statement(note)
    async with running(shard):
        for _second in range(600):
            await send(shard)
            await trio.sleep(1)
    (row,) = await rows(harness)
    assert (row.signal, row.occurrences) == ("soc_percent", 600)
    assert writes == pytest.approx([*range(0, 600, 60), 600])  # the last at the end


async def test_what_waits_is_written_within_a_minute_of_silence(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    async with running(shard):
        await send(shard)
        await trio.sleep(1)
        await send(shard)
        assert await counted(harness) == 1
        await trio.sleep(60.5)
        assert await counted(harness) == 2
        assert shard.ingest.statistics().refusals.waiting == 0


async def test_the_end_writes_what_is_only_counted(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    async with running(shard):
        for device_id in ("bus-1", "bus-2") * 3:
            await send(shard, device_id)
            await trio.sleep(0.1)
    assert sorted(row.occurrences for row in await rows(harness)) == [3, 3]
    assert shard.ingest.statistics().refusals.waiting == 0


@pytest.mark.parametrize("after", [True, False])
async def test_a_lost_answer_to_a_commit_keeps_the_count_exact(
    harness: Harness, shard: Shard, autojump_clock: MockClock, after: bool
) -> None:
    async with running(shard):
        await send(shard)
        harness.store.lose_commit(after=after)
        await trio.sleep(1)
        await send(shard)  # it is only counted
        await trio.sleep(58)
        harness.store.lose_commit(after=after)
        await trio.sleep(2)  # the count is written
        await send(shard)
    assert await counted(harness) == 3


async def test_a_database_that_is_away_costs_no_count(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    async with running(shard):
        await send(shard)
        harness.store.go_away(for_next=5)
        await send(shard)
        await trio.sleep(1)
        harness.store.go_away()
        await trio.sleep(300)
        harness.store.come_back()
        await trio.sleep(10)
        assert await counted(harness) == 2


async def test_poison_beside_a_refusal_keeps_the_count_exact(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    async with running(shard):
        await send(shard)
        await send(shard)
        harness.store.poison(lambda poison: poison.device_id == "bus-2")
        await trio.sleep(61)
        replies = [shard.send(refused(bus, 61)) for bus in ("bus-1", "bus-2", "bus-1")]
        results = [said(await reply.wait()) for reply in replies]
        assert results == [["accepted"], ["quarantined:data_error"], ["duplicate"]]
        harness.store.cure()
        await send(shard, "bus-2")
        # What was quarantined was not counted, so this is the first of its key.
        assert {row.device_id for row in await rows(harness)} == {"bus-1", "bus-2"}
    assert await counted(harness) == 5


async def test_counts_outlive_the_session_under_which_they_began(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    async with running(shard):
        await send(shard)
        await send(shard)
        start = await harness.store.begin_session("shard-1", ttl_seconds=15)
        assert start is not None
        shard.current.replace(start.session)
        assert start.session == SessionRef("shard-1", 2)
        await send(shard)
    assert await counted(harness) == 3


async def test_items_are_counted_up_like_readings(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    item = InvalidItem(HARBOUR, STEADY, "x-bus-1", Reason.MALFORMED, "no time", b"{}", 5)
    async with running(shard):
        for _second in range(120):
            await shard.send(invalid=(item,)).wait()
            await trio.sleep(1)
    (row,) = await rows(harness)
    assert (row.occurrences, row.device_id, row.sample) == (600, "bus-1", b"{}")
