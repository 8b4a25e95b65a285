"""Locked rows over the twin: submissions that need them wait, whole and in order; no other does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.model import ConnectionFact, ConnectionFactKind, CursorAdvance
from storage.memory.locks import UNIT_LOCK_SECONDS
from tests.actors.deferring import CYCLE_ID, ENOUGH_SECONDS, advance, cursor_of, end_of_cycle
from tests.actors.harness import (
    HARBOUR,
    LIVE,
    STEADY,
    Harness,
    Shard,
    owned_by,
    said,
    until,
    update,
)
from tests.actors.instants import at
from tests.actors.working import ISLAND
from tests.statements import named

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from storage.unit.steps import Statement

    Events = list[MutableMapping[str, Any]]


# --- only what needs the row waits


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("device_state", "bus-1"),
        ("snapshots", "bus-1"),
        ("connection_state", STEADY),
        ("poll_cycles", CYCLE_ID),
    ],
)
async def test_a_locked_row_delays_only_what_needs_it(
    harness: Harness, running: Shard, table: str, name: str, autojump_clock: MockClock
) -> None:
    harness.store.hold_row(table, HARBOUR, name)
    needing = running.send(
        update("bus-1", 1, soc_percent=10),
        cursor=advance("page-1"),
        cycle=end_of_cycle(),
        statements=(named(HARBOUR, ("bus-1",), at(1)),),
    )
    others = [
        running.send(update("bus-2", 1, soc_percent=20)),
        running.send(
            update("bus-1", 1, soc_percent=30)._replace(workspace_id=ISLAND), origin="http"
        ),
        running.send(update("ferry-1", 1, soc_percent=40)),
    ]
    with trio.fail_after(2 * UNIT_LOCK_SECONDS):
        assert [said(await reply.wait()) for reply in others] == [["accepted"]] * 3
    later = running.send(update("bus-2", 2, soc_percent=21))
    with trio.fail_after(0.01):
        assert said(await later.wait()) == ["accepted"]
    await trio.sleep(60)
    assert not needing.done
    assert not running.ingest.is_failing
    assert running.ingest.oldest_waiting_seconds() == 0
    assert (await harness.sequences("bus-1"), await cursor_of(harness)) == ([], None)
    assert [cycle.outcome for cycle in await harness.cycles()] == ["running"]
    running.check_identity()
    harness.store.release_rows()
    with trio.fail_after(ENOUGH_SECONDS):
        assert said(await needing.wait()) == ["accepted"]
    assert (await harness.sequences("bus-1"), await cursor_of(harness)) == ([1], "page-1")
    assert [cycle.outcome for cycle in await harness.cycles()] == ["completed"]
    running.check_identity()


async def test_an_unlocked_unit_asks_nothing_more_than_before(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    asked: list[str] = []

    async def note(statement: Statement) -> None:
        asked.append(statement.name)

    harness.store.before_each_statement(note)
    await running.send(update("bus-1", 1, soc_percent=10)).wait()
    assert asked == [
        "fence",
        "lock_devices",
        "write_device_states",
        "write_snapshots",
        "append_events",
    ]


async def test_a_lock_that_is_short_defers_nothing(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    reply = running.send(update("bus-1", 1, soc_percent=10))
    await trio.sleep(UNIT_LOCK_SECONDS * 0.9)
    harness.store.release_rows()
    assert said(await reply.wait()) == ["accepted"]
    assert running.ingest.statistics().deferred.deferrals == 0
    assert not running.ingest.is_failing


async def test_a_lock_that_is_on_no_row_keeps_the_batch_whole(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """A locked table, or the session's own row: there is nothing to part."""
    await harness.store.begin_session("shard-9", ttl_seconds=15)
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    found = harness.store.find_locked
    # No row is found locked, as when the lock is of another kind.
    harness.store.find_locked = lambda rows: found(())  # type: ignore[method-assign]
    replies = [running.send(update(bus, 1, soc_percent=10)) for bus in ("bus-1", "bus-2")]
    await trio.sleep(30)
    assert running.ingest.is_failing
    assert not any(reply.done for reply in replies)
    harness.store.release_rows()
    assert [said(await reply.wait()) for reply in replies] == [["accepted"]] * 2


# --- order


async def test_later_submissions_for_the_same_device_stay_behind(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """Also one that names a second device of a waiting one, or names it by the provider's id."""
    harness.store.hold_row("snapshots", HARBOUR, "bus-1")
    replies = [running.send(update("bus-1", 1, soc_percent=1), update("bus-2", 1, soc_percent=1))]
    await until(lambda: running.ingest.statistics().deferred.submissions == 1)
    replies += [
        running.send(update("bus-2", 3, soc_percent=3)),
        running.send(update("bus-2", 2, soc_percent=2), update("ferry-1", 5, soc_percent=5)),
        running.send(
            update("ferry-1", 4, soc_percent=4)._replace(device_id=None, external_id="x-ferry-1")
        ),
    ]
    await until(lambda: running.ingest.statistics().deferred.submissions >= 3)
    await trio.sleep(5)
    assert not any(reply.done for reply in replies[:3])
    harness.store.release_rows()
    results = [said(await reply.wait()) for reply in replies]
    assert results[:3] == [["accepted"] * 2, ["accepted"], ["stale", "accepted"]]


async def test_a_cursor_stays_behind_the_data_that_it_covers(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """A page in two parts, its cursor on the second, and a next page, all of other devices."""
    mine = owned_by(running.session)
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    running.send(update("bus-1", 1, soc_percent=1), origin="poll", ownership=mine)
    page = running.send(
        update("bus-2", 1, soc_percent=1), origin="poll", ownership=mine, cursor=advance("page-1")
    )
    following = running.send(origin="poll", ownership=mine, cursor=advance("page-2"))
    other = running.send(
        origin="poll", ownership=mine, cursor=CursorAdvance(HARBOUR, LIVE, "elsewhere")
    )
    with trio.fail_after(2):
        await other.wait()
    await trio.sleep(30)
    assert not page.done
    assert not following.done
    assert await cursor_of(harness) is None  # a crash here fetches the first page again
    harness.store.release_rows()
    await following.wait()
    assert await cursor_of(harness) == "page-2"
    assert (await harness.sequences("bus-1"), await harness.sequences("bus-2")) == ([1], [1])


async def test_facts_of_a_connection_keep_their_order(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    kinds = (ConnectionFactKind.CALL_FAILED, ConnectionFactKind.CALL_SUCCEEDED)
    failed, succeeded = (
        ConnectionFact(HARBOUR, STEADY, kind, at(n)) for n, kind in enumerate(kinds)
    )
    running.send(update("bus-1", 1, soc_percent=1), facts=(failed,))
    last = running.send(facts=(succeeded,))
    await trio.sleep(10)
    assert not last.done
    harness.store.release_rows()
    await last.wait()
    assert [kind for _, kind, _ in harness.edges()] == ["call_failed", "call_succeeded"]


async def test_a_cycle_ends_behind_its_deferred_parts(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """So does the empty submission by which a workspace waits for its former cycle."""
    mine = owned_by(running.session)
    harness.store.hold_row("snapshots", HARBOUR, "bus-1")
    running.send(update("bus-1", 1, soc_percent=1), origin="poll", ownership=mine)
    end = running.send(origin="poll", ownership=mine, cycle=end_of_cycle())
    barrier = running.send(origin="poll", ownership=mine)
    elsewhere = running.send(origin="poll", ownership=owned_by(running.session, ISLAND))
    await elsewhere.wait()
    await trio.sleep(30)
    assert not end.done
    assert not barrier.done
    harness.store.release_rows()
    first, second = await end.wait(), await barrier.wait()
    assert first
    assert second
    assert first.unit <= second.unit


async def test_each_device_keeps_its_order_while_locks_come_and_go(
    harness: Harness, running: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Each update is newer than the one sent before it, so an overtaken one would be stale."""
    devices = ["bus-1", "bus-2", "ferry-1", "ferry-2"]
    random = running.random

    async def meddle() -> None:
        while True:
            for table in ("device_state", "snapshots"):
                if random.random() < 0.5:
                    name, holder = random.choice(devices), str(trio.current_time())
                    harness.store.hold_row(table, HARBOUR, name, holder=holder)
            await trio.sleep(random.uniform(0, 2))
            harness.store.release_rows()
            await trio.sleep(random.uniform(0, 1))

    nursery.start_soon(meddle)
    replies = []
    for second in range(1, 200):
        chosen = random.sample(devices, random.randint(1, 3))
        replies.append(
            running.send(*(update(name, second, soc_percent=second % 100) for name in chosen))
        )
        if random.random() < 0.1:
            harness.store.lose_commit(after=random.random() < 0.5)
        await trio.sleep(random.uniform(0, 0.2))
    with trio.fail_after(600):
        outcomes = {outcome for reply in replies for outcome in said(await reply.wait())}
    assert outcomes == {"accepted"}
    assert running.ingest.statistics().deferred.deferrals > 10
    running.check_identity()


async def test_a_part_committed_before_a_lock_is_not_committed_again(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def lock_in_the_middle(statement: Statement) -> None:
        if statement.name == "append_quarantine":
            harness.store.hold_row("connection_state", HARBOUR, STEADY)

    harness.store.poison(lambda update: update.device_id == "ferry-1")
    harness.store.before_each_statement(lock_in_the_middle)
    done = [
        shard.send(update("bus-2", 1, soc_percent=1)),
        shard.send(update("ferry-1", 1, soc_percent=1)),
    ]
    held = shard.send(update("bus-1", 1, soc_percent=1), cursor=advance("page-1"))
    nursery.start_soon(shard.ingest.run)
    with trio.fail_after(ENOUGH_SECONDS):
        assert [said(await reply.wait()) for reply in done] == [
            ["accepted"],
            ["quarantined:data_error"],
        ]
    await trio.sleep(10)
    assert not held.done
    shard.check_identity()
    assert shard.ingest.statistics().outcomes == {"accepted": 1, "quarantined": 1}
    assert harness.quarantined() == ["ferry-1"]
    harness.store.release_rows()
    with trio.fail_after(ENOUGH_SECONDS):
        assert said(await held.wait()) == ["accepted"]
    shard.check_identity()
