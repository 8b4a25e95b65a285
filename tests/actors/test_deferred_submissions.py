"""Deferred submissions over the twin: their bounds, and what else may happen while some wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.deferred import MAX_WORKSPACE_SIZE, MAX_WORKSPACE_UPDATES
from actors.ingest import MAX_UNIT_UPDATES
from actors.lanes import LANES
from domain.model import Confirmation
from domain.resource import workspace_resource
from runtime.mailbox import LaneFull
from tests.actors.deferring import ENOUGH_SECONDS, advance, cursor_of, end_of_cycle
from tests.actors.harness import (
    HARBOUR,
    STEADY,
    Harness,
    Shard,
    at,
    owned_by,
    said,
    submission,
    until,
    update,
)
from tests.actors.working import ISLAND

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from storage.unit_steps import Statement

    Events = list[MutableMapping[str, Any]]

BUS_IS_THERE = Confirmation(HARBOUR, ("bus-1",), at(1))


# --- bounds


async def test_what_waits_counts_against_its_lane(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    running.send(*(update("bus-1", n, soc_percent=1) for n in range(400)), origin="http")
    await trio.sleep(2)
    lane = running.ingest.statistics().mailbox.lanes["http"]
    assert (lane.waiting_items, lane.waiting_size, lane.set_aside_size) == (0, 400, 400)
    assert running.ingest.statistics().pending == 400
    harness.store.release_rows()
    await until(lambda: running.ingest.statistics().pending == 0)
    assert running.ingest.statistics().mailbox.lanes["http"].waiting_size == 0


async def test_what_becomes_free_is_committed_in_units_of_bounded_size(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    held = [running.send(update("bus-1", 1, soc_percent=1))]
    for number in range(2, 5):
        held.append(running.send(*[update("bus-1", number, soc_percent=number)] * 400))
        await trio.sleep(5)
    assert running.ingest.statistics().deferred.updates == 1201
    harness.store.release_rows()
    with trio.fail_after(ENOUGH_SECONDS):
        for reply in held:
            await reply.wait()
    assert running.ingest.statistics().largest_unit <= MAX_UNIT_UPDATES
    running.check_identity()


async def test_a_workspace_with_enough_waiting_is_refused_alone(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    for _ in range(MAX_WORKSPACE_UPDATES // 500):
        running.send(*(update("bus-1", n, soc_percent=1) for n in range(500)))
        await trio.sleep(2)
    with pytest.raises(LaneFull, match="locked"):
        running.send(update("bus-1", 9, soc_percent=9))
    waiting, reply = submission(update("bus-1", 10, soc_percent=1), origin="poll")
    with trio.move_on_after(30) as deadline:
        await running.ingest.submit(waiting)
    assert deadline.cancelled_caught
    with trio.fail_after(1):
        assert said(await running.send(update("bus-2", 9, soc_percent=9)).wait()) == ["accepted"]
        elsewhere = update("bus-1", 9, soc_percent=9)._replace(workspace_id=ISLAND)
        assert said(await running.send(elsewhere).wait()) == ["accepted"]
        await running.send(cursor=advance("page-1")).wait()
    harness.store.release_rows()
    await running.ingest.submit(waiting)
    await reply.wait()
    assert LANES["stream"].capacity >= 10 * MAX_WORKSPACE_UPDATES


async def test_cycle_ends_behind_a_locked_row_do_not_fill_the_lane(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """Every slot brings one more end of a cycle, and none of them carries an update."""
    mine = owned_by(running.session)
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    first = running.send(update("bus-1", 1, soc_percent=1), origin="poll", ownership=mine)
    await until(lambda: running.ingest.statistics().deferred.submissions == 1)
    ends = []
    for _ in range(MAX_WORKSPACE_SIZE - 1):  # they are let in where updates are refused already
        ends.append(running.send(origin="poll", ownership=mine, confirmation=BUS_IS_THERE))
        await trio.sleep(0.05)
    with pytest.raises(LaneFull, match="locked"):
        running.send(origin="poll", ownership=mine, confirmation=BUS_IS_THERE)
    assert LANES["poll"].capacity >= 5 * MAX_WORKSPACE_SIZE
    waiting, last = submission(origin="poll", ownership=mine, cycle=end_of_cycle())
    with trio.move_on_after(30) as deadline:
        await running.ingest.submit(waiting)
    assert deadline.cancelled_caught
    harness.store.release_rows()
    await running.ingest.submit(waiting)
    for reply in (first, *ends, last):
        assert await reply.wait() is not None
    assert running.ingest.statistics().deferred.submissions == 0


async def test_a_row_locked_for_ever_costs_little_and_is_said_once(
    harness: Harness, running: Shard, events: Events, autojump_clock: MockClock
) -> None:
    harness.store.hold_row("device_state", HARBOUR, "bus-1")
    statements = 0

    async def count(_: Statement) -> None:
        nonlocal statements
        statements += 1

    running.send(update("bus-1", 1, soc_percent=1))
    await trio.sleep(5)
    harness.store.before_each_statement(count)
    await trio.sleep(3600)
    assert statements <= 2 * 3600 / 0.8
    deferred = running.ingest.statistics().deferred
    assert (deferred.submissions, deferred.updates, deferred.locked_rows) == (1, 1, 1)
    assert deferred.oldest_seconds == pytest.approx(3605)
    assert deferred.oldest_seconds_by_workspace == {HARBOUR: deferred.oldest_seconds}
    harness.store.release_rows()
    await until(lambda: running.ingest.statistics().pending == 0)
    told = [event for event in events if event["event"].startswith("ingest_")]
    assert [event["event"] for event in told] == ["ingest_deferred", "ingest_deferred_recovered"]
    assert told[0]["rows"] == [("device", HARBOUR, "bus-1")]
    assert told[1]["deferrals"] == 1
    assert told[1]["deferred_for_seconds"] == pytest.approx(3605, abs=3)


async def test_a_row_whose_holder_changes_is_waited_for_in_line(
    harness: Harness, running: Shard, autojump_clock: MockClock
) -> None:
    """Another shard's units take the row in turn: occasional looks might never find it free."""
    harness.store.hold_row("device_state", HARBOUR, "bus-1", holder="a long one")
    reply = running.send(update("bus-1", 1, soc_percent=1))
    await trio.sleep(10)
    harness.store.hold_row("device_state", HARBOUR, "bus-1", holder="another")
    units: list[str] = []

    async def note(statement: Statement) -> None:
        units.append(statement.name)
        if statement.name == "lock_devices":
            harness.store.release_rows()

    harness.store.before_each_statement(note)
    assert said(await reply.wait()) == ["accepted"]
    assert units.count("lock_devices") == 1


# --- around it


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
