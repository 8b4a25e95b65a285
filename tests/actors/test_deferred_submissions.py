"""Deferred submissions over the twin: other things that may happen while some wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from domain.resource import workspace_resource
from tests.actors.deferring import ENOUGH_SECONDS, advance, cursor_of
from tests.actors.harness import HARBOUR, STEADY, Harness, Shard, owned_by, said, update
from tests.actors.instants import at
from tests.actors.working import ISLAND
from tests.statements import named

if TYPE_CHECKING:
    from trio.testing import MockClock

    from storage.unit.steps import Statement

BUS_IS_THERE = named(HARBOUR, ("bus-1",), at(1))


async def test_the_answer_about_the_free_part_may_be_lost(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    fences = 0

    async def lose_second(statement: Statement) -> None:
        nonlocal fences
        fences += statement.name == "fence"
        if statement.name == "fence" and fences == 2:
            harness.store.lose_commit(after=True)

    harness.store.before_each_statement(lose_second)
    held = running.send(update("bus-1", 1, soc_percent=1))
    assert said(await running.send(update("bus-2", 1, soc_percent=1)).wait()) == ["accepted"]
    assert (await harness.sequences("bus-2"), held.done) == ([1], False)
    harness.store.release_rows()
    assert said(await held.wait()) == ["accepted"]
    assert await harness.sequences("bus-1") == [1]


async def test_poison_beside_a_locked_row_keeps_others_and_order(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.poison(lambda update: update.readings[0].value == 13)
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    mixed = running.send(
        update("bus-2", 1, soc_percent=1),
        update("bus-2", 2, soc_percent=13),
        update("bus-1", 3, soc_percent=3),
        ownership=owned_by(running.session),
        cursor=advance("page-1"),
    )
    others = [
        running.send(update("ferry-1", n, soc_percent=13 if n == 2 else n)) for n in range(1, 4)
    ]
    with trio.fail_after(10):
        results = [said(await reply.wait()) for reply in others]
    assert results == [["accepted"], ["quarantined:data_error"], ["accepted"]]
    assert await cursor_of(harness) is None
    running.check_identity()
    harness.store.release_rows()
    assert said(await mixed.wait()) == ["accepted", "quarantined:data_error", "accepted"]
    assert (await harness.sequences("bus-2"), await harness.sequences("bus-1")) == ([1], [1])
    assert await cursor_of(harness) == "page-1"
    assert not running.ingest.has_unjudged(workspace_resource("harbour"))
    running.check_identity()


async def test_poison_that_fails_before_a_lock_is_met_stops_nobody(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """The whole batch fails by the poison. Only the search for it meets the lock, each time."""
    harness.store.hold_row("connection_state", HARBOUR, STEADY)
    held = running.send(update("bus-1", 1, soc_percent=1), cursor=advance("page-1"))
    poison = running.send(update("bus-2", 1, soc_percent=1)._replace(trace_id="a\x00b"))
    other = running.send(update("ferry-1", 1, soc_percent=1))
    with trio.fail_after(ENOUGH_SECONDS):
        assert said(await poison.wait()) == ["quarantined:data_error"]
        assert said(await other.wait()) == ["accepted"]
    assert (held.done, await cursor_of(harness)) == (False, None)
    running.check_identity()
    harness.store.release_rows()
    with trio.fail_after(ENOUGH_SECONDS):
        assert said(await held.wait()) == ["accepted"]
    assert await cursor_of(harness) == "page-1"
    running.check_identity()


async def test_a_lock_met_in_the_search_for_poison_undoes_nothing(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """The first update of a submission is committed alone; the rest meets the lock and waits."""
    harness.store.poison(lambda update: update.readings[0].value == 13)
    units = 0

    async def lock_late(statement: Statement) -> None:
        nonlocal units
        units += statement.name == "fence"
        if units == 3:
            harness.store.hold_row("device_state", HARBOUR, "bus-1")

    harness.store.before_each_statement(lock_late)
    mine = owned_by(running.session)
    cut = running.send(
        update("bus-2", 1, soc_percent=1),
        update("bus-1", 2, soc_percent=13),
        ownership=mine,
        cursor=advance("page-1"),
    )
    with trio.move_on_after(10):
        await cut.wait()
    assert (cut.done, await harness.sequences("bus-2"), await cursor_of(harness)) == (
        False,
        [1],
        None,
    )
    assert running.ingest.has_unjudged(mine.resource)
    running.check_identity()
    harness.store.before_each_statement(None)
    harness.store.release_rows()
    assert said(await cut.wait()) == ["accepted", "quarantined:data_error"]
    assert (await harness.sequences("bus-2"), await cursor_of(harness)) == ([1], "page-1")
    assert not running.ingest.has_unjudged(mine.resource)
    running.check_identity()


async def test_a_lock_in_the_search_for_poison_delays_only_what_is_cut(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """Units: the whole batch, the submission with the poison, its first update, its second."""
    units = 0

    async def lock_before_the_second_update(statement: Statement) -> None:
        nonlocal units
        units += statement.name == "fence"
        if units == 4:
            harness.store.hold_row("device_state", HARBOUR, "bus-1")

    harness.store.poison(lambda update: update.readings[0].value == 13)
    harness.store.before_each_statement(lock_before_the_second_update)
    cut = running.send(update("bus-2", 1, soc_percent=1), update("bus-1", 1, soc_percent=13))
    behind = [
        running.send(update("ferry-1", 1, soc_percent=1)),
        running.send(update("ferry-1", 2, soc_percent=2), update("ferry-1", 3, soc_percent=3)),
    ]
    with trio.fail_after(ENOUGH_SECONDS):
        assert [said(await reply.wait()) for reply in behind] == [["accepted"], ["accepted"] * 2]
    assert (cut.done, await harness.sequences("bus-2")) == (False, [1])
    running.check_identity()
    harness.store.before_each_statement(None)
    harness.store.release_rows()
    with trio.fail_after(ENOUGH_SECONDS):
        assert said(await cut.wait()) == ["accepted", "quarantined:data_error"]
    assert running.ingest.statistics().outcomes == {"accepted": 4, "quarantined": 1}
    running.check_identity()


async def test_a_resource_is_judged_with_its_own_deferred_parts(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    mine, other = owned_by(running.session), owned_by(running.session, ISLAND)
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    running.send(update("bus-1", 1, soc_percent=1), ownership=mine)
    running.send(update("bus-1", 1, soc_percent=1)._replace(workspace_id=ISLAND), ownership=other)
    with trio.fail_after(2):
        await running.ingest.wait_until_judged(other.resource)
    assert running.ingest.has_unjudged(mine.resource)
    harness.store.release_rows()
    with trio.fail_after(ENOUGH_SECONDS):
        await running.ingest.wait_until_judged(mine.resource)


async def test_a_deferred_part_of_an_ended_session_is_fenced_at_once(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    owned = running.send(update("bus-1", 1, soc_percent=1), ownership=owned_by(running.session))
    client = running.send(update("bus-1", 2, soc_percent=2), origin="http")
    await trio.sleep(5)
    start = await harness.store.begin_session("shard-1", ttl_seconds=15)
    assert start is not None
    running.current.replace(start.session)
    with trio.fail_after(ENOUGH_SECONDS):
        assert said(await owned.wait()) == ["rejected:fenced"]
    assert not client.done
    harness.store.release_rows()
    assert said(await client.wait()) == ["accepted"]


async def test_a_drain_gives_up_what_is_still_deferred(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    held = [running.send(update("bus-1", n, soc_percent=n)) for n in (1, 2)]
    await trio.sleep(3)
    running.ingest.close()
    await trio.sleep(3)
    assert running.ingest.give_up() == 2
    assert [await reply.wait() for reply in held] == [None, None]
    assert await harness.sequences("bus-1") == []
    running.check_identity()


async def test_a_drain_commits_what_becomes_free_in_time(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    held = shard.send(update("bus-1", 1, soc_percent=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        await trio.sleep(3)
        shard.ingest.close()
        await trio.sleep(3)
        harness.store.release_rows()
        nursery.cancel_scope.deadline = trio.current_time() + ENOUGH_SECONDS
    assert not nursery.cancel_scope.cancelled_caught
    assert said(await held.wait()) == ["accepted"]


async def test_a_database_away_beside_a_locked_row_is_said(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    held = running.send(update("bus-1", 1, soc_percent=1))
    await trio.sleep(5)
    harness.store.go_away()
    await trio.sleep(30)
    assert running.ingest.is_failing
    harness.store.release_rows()
    harness.store.come_back()
    assert said(await held.wait()) == ["accepted"]
    assert not running.ingest.is_failing


async def test_a_batch_that_meets_a_lock_again_keeps_its_place(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """The update of bus-2 is freed and meets a new lock while a later one waits for both buses."""
    for bus in ("bus-1", "bus-2"):
        harness.store.hold_row("device_state", HARBOUR, bus)
    first, second = (running.send(update(bus, 1, soc_percent=1)) for bus in ("bus-1", "bus-2"))
    await trio.sleep(2)
    both = running.send(update("bus-1", 2, soc_percent=2), update("bus-2", 2, soc_percent=2))
    await trio.sleep(2)

    async def lock_again(statement: Statement) -> None:
        if statement.name == "lock_devices":
            harness.store.before_each_statement(None)
            harness.store.hold_row("device_state", HARBOUR, "bus-2", holder="another")

    harness.store.before_each_statement(lock_again)
    harness.store.release_rows()
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    await trio.sleep(10)
    assert not any(reply.done for reply in (first, second, both))
    harness.store.release_rows()
    results = [said(await reply.wait()) for reply in (first, second, both)]
    assert results == [["accepted"], ["accepted"], ["accepted", "accepted"]]
