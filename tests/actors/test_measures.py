"""What the actors report of units and cycles, at the moment when it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from actors.unit_committer import measured_attempt
from ports.ingest import CommitUnknown, RowsLocked, SessionFenced, UnitPoisoned
from storage.faults import DatabaseAway
from tests.actors.harness import STEADY, update
from tests.actors.instants import INTERVAL
from tests.actors.polling import ScriptedPoller
from tests.actors.working import working
from tests.recording import Recording

if TYPE_CHECKING:
    from trio.testing import MockClock

    from actors.fleet import FleetView
    from tests.actors.harness import Harness, Shard


async def test_a_unit_tells_its_size_and_its_duration(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    updates = [update("bus-1", second, soc_percent=second) for second in range(3)]
    await shard.send(*updates).wait()
    assert [told.value for told in shard.recording.of("unit_updates")] == [3]
    assert [told.value >= 0 for told in shard.recording.of("unit_seconds")] == [True]
    assert shard.recording.of("unit_failures") == []


async def test_attempts_in_an_outage_are_failures_and_no_units(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    harness.store.go_away()
    reply = shard.send(update("bus-1", 0, soc_percent=10))
    await trio.sleep(60)
    assert set(shard.recording.labels_of("unit_failures")) == {("database",)}
    assert shard.recording.of("unit_seconds") == []
    harness.store.come_back()
    await reply.wait()
    assert len(shard.recording.of("unit_seconds")) == 1


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (SessionFenced("fenced"), "fenced"),
        (RowsLocked("locked"), "locked"),
        (UnitPoisoned("22021", "poison"), "poisoned"),
        (CommitUnknown("lost", ()), "commit_unknown"),
        (DatabaseAway("away"), "database"),
    ],
)
async def test_each_kind_of_failure_has_its_name(failure: Exception, kind: str) -> None:
    recording = Recording()
    with pytest.raises(type(failure)), measured_attempt(recording.measures):
        raise failure
    assert [one.name for one in recording.told] == ["unit_failures"]
    assert recording.labels_of("unit_failures") == [(kind,)]


async def test_a_cycle_tells_its_outcome_and_how_late_it_began(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    async with working(shard, await shard.view()):
        await trio.sleep(2.5 * INTERVAL)
    regular = [t for t in shard.recording.of("cycle_lateness_seconds") if t.labels == ("schedule",)]
    assert len(regular) >= 2
    assert all(0 <= told.value <= 0.05 for told in regular)  # the jitter
    assert set(shard.recording.labels_of("cycles")) == {("completed",)}
    assert len(shard.recording.of("cycle_seconds")) == len(shard.recording.of("cycles"))


async def test_missed_slots_are_counted_with_their_number(
    shard: Shard, island: FleetView, autojump_clock: MockClock
) -> None:
    await trio.sleep(150)
    async with working(shard, island):
        await trio.sleep(INTERVAL)
    told = [(one.value, *one.labels) for one in shard.recording.of("cycles")]
    assert told == [(1, "missed"), (1, "completed")]


async def test_a_cycle_that_is_cancelled_counts_as_abandoned(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    shard.provider.pollers[STEADY] = ScriptedPoller(10_000.0)
    async with working(shard, await shard.view()):
        await trio.sleep(INTERVAL / 2)
    assert shard.recording.labels_of("cycles") == [("abandoned",)]
