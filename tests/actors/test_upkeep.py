"""The upkeep actor: partitions ahead and retention behind, whatever night was missed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

from actors.statistics import UpkeepStatistics
from actors.upkeep import UpkeepActor
from ports.upkeep import Retention
from tests.actors.harness import HARBOUR, update

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]

DAY = 86_400.0


async def test_there_are_partitions_for_a_week_on_every_day_of_a_month(
    harness: Harness, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    actor = UpkeepActor(harness.store, Random(1))
    nursery.start_soon(actor.run)
    for _ in range(30):
        await trio.sleep(DAY)
        assert await harness.store.check_ready() >= 6
    assert actor.statistics().partition_days_ahead == 7


async def test_it_makes_up_for_a_database_that_was_away(
    harness: Harness, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    harness.store.go_away()
    actor = UpkeepActor(harness.store, Random(1))
    nursery.start_soon(actor.run)
    await trio.sleep(DAY)
    assert actor.statistics() == UpkeepStatistics(partition_days_ahead=None, dropped={})
    harness.store.come_back()
    await trio.sleep(120)
    assert actor.statistics().partition_days_ahead == 7
    names = [event["event"] for event in events]
    assert (names.count("upkeep_failed"), names.count("upkeep_recovered")) == (1, 1)


async def test_rows_past_their_retention_are_dropped_and_counted(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.send(update("bus-1", 0, soc_percent=1), update("nobody", 0, soc_percent=1)).wait()
    actor = UpkeepActor(harness.store, Random(1))
    nursery.start_soon(actor.run)
    await trio.sleep(29 * DAY)
    assert len(await harness.store.list_rejections(HARBOUR, before=None, reason=None, limit=9)) == 1
    await trio.sleep(2 * DAY)
    assert await harness.store.list_rejections(HARBOUR, before=None, reason=None, limit=9) == []
    assert await harness.sequences("bus-1") == [1]
    await trio.sleep(61 * DAY)
    assert await harness.sequences("bus-1") == []
    assert actor.statistics().dropped["rejections"] == 1


async def test_rows_are_kept_for_as_long_as_the_settings_say(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.send(update("bus-1", 0, soc_percent=1), update("nobody", 0, soc_percent=1)).wait()
    actor = UpkeepActor(harness.store, Random(1), Retention(event_days=3, rejection_days=2))
    nursery.start_soon(actor.run)
    await trio.sleep(1.9 * DAY)
    assert actor.statistics().dropped["rejections"] == 0
    await trio.sleep(0.2 * DAY)
    assert actor.statistics().dropped["rejections"] == 1
    assert await harness.sequences("bus-1") == [1]
    await trio.sleep(3 * DAY)
    assert await harness.sequences("bus-1") == []


async def test_many_shards_do_not_queue_for_the_same_chore(
    harness: Harness, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """They begin together after a rollout and drift apart."""
    visits: list[float] = []

    class Noted:
        async def ensure_partitions(self, *, days_ahead: int) -> int:
            visits.append(trio.current_time())
            return await harness.store.ensure_partitions(days_ahead=days_ahead)

        drop_expired = harness.store.drop_expired

    for seed in range(10):
        nursery.start_soon(UpkeepActor(Noted(), Random(seed)).run)
    await trio.sleep(1.2 * 3600)
    later = sorted(visits)[10:]
    assert len(later) == 10
    assert later[-1] - later[0] > 60
