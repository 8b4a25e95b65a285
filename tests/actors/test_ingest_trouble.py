"""The ingest actor over the twin: a database that is away, lost commits, bugs, another epoch."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime.supervisor import Restart, Supervisor
from tests.actors.harness import owned_by, said, update
from tests.actors.watching import delays

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from storage.unit.steps import Statement
    from tests.actors.harness import Harness, Shard
    from tests.actors.watching import Watched

    Events = list[MutableMapping[str, Any]]


# --- the database is away


async def test_an_absent_database_changes_neither_batch_nor_number(
    harness: Harness,
    watched: Watched,
    shard: Shard,
    nursery: trio.Nursery,
    events: Events,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.send(update("bus-1", 0, soc_percent=10)).wait()
    harness.store.go_away()
    replies = [shard.send(update("bus-1", second, soc_percent=second)) for second in range(1, 6)]
    await trio.sleep(120)
    assert shard.ingest.is_failing
    assert shard.ingest.oldest_waiting_seconds() == pytest.approx(120)
    assert {(unit, submissions) for _, unit, submissions in watched.attempts[1:]} == {(2, 5)}
    harness.store.come_back()
    assert [said(await reply.wait()) for reply in replies] == [["accepted"]] * 5
    assert await harness.sequences("bus-1") == [1, 2, 3, 4, 5, 6]
    assert not shard.ingest.statistics().failing
    assert [event["event"] for event in events if event["event"].startswith("ingest_commit")] == [
        "ingest_commit_failed",
        "ingest_commit_recovered",
    ]


async def test_retries_back_off_with_jitter_and_heed_retry_after(
    harness: Harness,
    watched: Watched,
    shard: Shard,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    harness.store.go_away()
    nursery.start_soon(shard.ingest.run)
    shard.send(update("bus-1", 0, soc_percent=10))
    await trio.sleep(300)
    waited = delays(watched)
    assert min(waited) >= 0.2  # DatabaseAway's retry_after is a floor
    assert max(waited) <= 0.2 + 5.0
    assert len(set(waited)) == len(waited)
    assert max(waited[:3]) < 1.0 < max(waited)


async def test_a_recovery_begins_again_with_short_delays(
    harness: Harness,
    watched: Watched,
    shard: Shard,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    for _ in range(2):
        harness.store.go_away()
        reply = shard.send(update("bus-1", trio.current_time(), soc_percent=10))
        await trio.sleep(120)
        harness.store.come_back()
        await reply.wait()
        assert max(delays(watched)[:2]) < 1.0
        watched.attempts.clear()


@pytest.mark.parametrize("after", [True, False])
async def test_a_unit_whose_commit_was_lost_is_stored_exactly_once(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock, *, after: bool
) -> None:
    """An applied unit is believed, another one is replayed; receipts and counts are exact."""
    harness.store.lose_commit(after=after)
    nursery.start_soon(shard.ingest.run)
    replies = [shard.send(update(bus, 1, soc_percent=10)) for bus in ("bus-1", "bus-1", "bus-2")]
    assert [said(await reply.wait()) for reply in replies] == [
        ["accepted"],
        ["duplicate"],
        ["accepted"],
    ]
    assert await harness.sequences("bus-1") == [1]
    assert shard.ingest.statistics().outcomes == {"accepted": 2, "duplicate": 1}
    assert said(await shard.send(update("bus-1", 2, soc_percent=11)).wait()) == ["accepted"]


async def test_a_commit_in_doubt_waits_until_the_database_can_tell(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    harness.store.lose_commit(after=True)

    async def then_go_away(statement: Statement) -> None:
        harness.store.before_each_statement(None)
        nursery.start_soon(go_away)

    async def go_away() -> None:
        harness.store.go_away()

    harness.store.before_each_statement(then_go_away)
    nursery.start_soon(shard.ingest.run)
    reply = shard.send(update("bus-1", 1, soc_percent=10))
    await trio.sleep(60)
    assert not reply.done
    harness.store.come_back()
    assert said(await reply.wait()) == ["accepted"]
    assert await harness.sequences("bus-1") == [1]


async def test_a_bug_in_the_store_restarts_with_the_same_batch(
    harness: Harness, watched: Watched, shard: Shard, events: Events, autojump_clock: MockClock
) -> None:
    watched.crashes = [ZeroDivisionError("a bug"), KeyError("another")]
    supervisor = Supervisor("test", random=Random(1))
    async with supervisor.open():
        supervisor.start("ingest", shard.ingest.run, restart=Restart.TRANSIENT, essential=True)
        replies = [shard.send(update("bus-1", second, soc_percent=second)) for second in range(3)]
        assert [said(await reply.wait()) for reply in replies] == [["accepted"]] * 3
        assert [attempt[1:] for attempt in watched.attempts] == [(1, 3)] * 3
        assert supervisor.statistics().crashes == 2
    assert await harness.sequences("bus-1") == [1, 2, 3]


# --- another epoch takes over


async def test_the_next_session_refuses_what_a_fenced_one_owned(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.send(update("ferry-1", 0, soc_percent=10)).wait()
    start = await harness.store.begin_session("shard-1", ttl_seconds=15)
    assert start is not None
    owned = shard.send(update("bus-1", 1, soc_percent=10), ownership=owned_by(shard.session))
    from_http = shard.send(update("bus-2", 1, soc_percent=10), origin="http")
    await trio.sleep(60)
    assert shard.current.session is None
    assert not owned.done
    shard.current.replace(start.session)
    assert said(await owned.wait()) == ["rejected:fenced"]
    receipt = await from_http.wait()
    assert (said(receipt), receipt and receipt.unit) == (
        ["accepted"],
        1,
    )  # a new session counts its units anew
    assert await harness.sequences("bus-1") == []
