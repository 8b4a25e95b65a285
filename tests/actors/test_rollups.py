"""The rollup actor: when it looks for hours to count, and how far back."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

from actors.rollups import MOST_HOURS, RollupActor
from actors.statistics import RollupStatistics
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    Events = list[MutableMapping[str, Any]]

HOUR = 3_600.0
DAY = 24 * HOUR
FACTS_DAYS = 30


class Hours:
    """Stands for the store: it holds how many hours wait, and notes how far each run looked."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting = waiting
        self.is_away = False
        self.looks: list[tuple[float, int]] = []

    async def build_hours(self, *, hours_back: int, most: int) -> int:
        await trio.lowlevel.checkpoint()
        self.looks.append((trio.current_time(), hours_back))
        if self.is_away:
            raise EnvironmentFault("the database is away")
        counted = min(self.waiting, most)
        self.waiting -= counted
        return counted


def make_actor(store: Hours) -> RollupActor:
    return RollupActor(store, Random(1), facts_days=FACTS_DAYS)


async def test_hours_that_wait_are_counted_in_runs_that_follow_soon(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = Hours(waiting=10 * MOST_HOURS + 1)
    actor = make_actor(store)
    nursery.start_soon(actor.run)
    await trio.sleep(5)
    assert actor.statistics().behind
    await trio.sleep(15)
    assert store.waiting == 0
    assert actor.statistics() == RollupStatistics(counted=10 * MOST_HOURS + 1, behind=False)
    runs = len(store.looks)
    await trio.sleep(HOUR)
    assert 10 <= len(store.looks) - runs <= 14  # every five minutes


async def test_all_facts_are_looked_at_once_a_day(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = Hours()
    nursery.start_soon(make_actor(store).run)
    await trio.sleep(3 * DAY - HOUR)
    long_looks = [at for at, hours_back in store.looks if hours_back == FACTS_DAYS * 24 - 1]
    assert len(long_looks) == 3
    assert {hours_back for _, hours_back in store.looks} == {FACTS_DAYS * 24 - 1, 48}


async def test_a_long_look_goes_on_until_nothing_waits(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = Hours(waiting=3 * MOST_HOURS)
    nursery.start_soon(make_actor(store).run)
    await trio.sleep(HOUR)
    assert [hours_back for _, hours_back in store.looks[:5]] == [719, 719, 719, 719, 48]


async def test_counting_makes_up_for_a_database_that_was_away(
    nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    store = Hours(waiting=5)
    store.is_away = True
    actor = make_actor(store)
    nursery.start_soon(actor.run)
    await trio.sleep(HOUR)
    assert len(store.looks) < 240  # it backs off
    store.is_away = False
    await trio.sleep(120)
    assert actor.statistics().counted == 5
    names = [event["event"] for event in events]
    assert (names.count("rollups_failed"), names.count("rollups_recovered")) == (1, 1)
