"""Deferred submissions over the twin: their bounds, and how often locks are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.deferred import MAX_WORKSPACE_SIZE, MAX_WORKSPACE_UPDATES
from actors.lanes import LANES
from actors.unit_writer import MAX_UNIT_UPDATES
from runtime.mailbox import LaneFull
from tests.actors.deferring import ENOUGH_SECONDS, advance, end_of_cycle
from tests.actors.harness import HARBOUR, Harness, Shard, owned_by, said, submission, until, update
from tests.actors.instants import at
from tests.actors.working import ISLAND
from tests.statements import named

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from storage.unit.steps import Statement

    Events = list[MutableMapping[str, Any]]

BUS_IS_THERE = named(HARBOUR, ("bus-1",), at(1))


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
        ends.append(running.send(origin="poll", ownership=mine, statements=(BUS_IS_THERE,)))
        await trio.sleep(0.05)
    with pytest.raises(LaneFull, match="locked"):
        running.send(origin="poll", ownership=mine, statements=(BUS_IS_THERE,))
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
