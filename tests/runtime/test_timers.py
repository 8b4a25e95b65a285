"""Timers: instants that survive steps of the clock, and beats that neither drift nor bunch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.clock import ClockUnknown, SharedClock, VirtualClock
from runtime.timers import Every, Tick, sleep_until

if TYPE_CHECKING:
    from trio.testing import MockClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def test_it_wakes_at_the_instant(autojump_clock: MockClock) -> None:
    clock = VirtualClock(NOON)
    late = await sleep_until(clock, at(1234.5))
    assert (clock.wall(), late) == (at(1234.5), 0.0)


async def test_an_instant_in_the_past_returns_at_once_with_its_lateness(autojump_clock: MockClock) -> None:
    with trio.testing.assert_checkpoints():
        late = await sleep_until(VirtualClock(NOON), at(-7))
    assert (late, trio.current_time()) == (7.0, 0.0)


async def test_a_clock_stepped_forward_is_noticed_within_one_recheck(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    clock = VirtualClock(NOON)

    async def step_after_30_s() -> None:
        await trio.sleep(30)
        clock.step(3600)

    nursery.start_soon(step_after_30_s)
    late = await sleep_until(clock, at(3000), recheck_seconds=60)
    assert (trio.current_time(), late) == (60.0, 660.0)


async def test_a_clock_stepped_back_is_waited_for(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    clock = VirtualClock(NOON)

    async def step_after_30_s() -> None:
        await trio.sleep(30)
        clock.step(-600)

    nursery.start_soon(step_after_30_s)
    assert await sleep_until(clock, at(300)) == 0.0
    assert trio.current_time() == pytest.approx(900)


async def test_it_can_wait_for_database_time(autojump_clock: MockClock) -> None:
    shared = SharedClock(VirtualClock(NOON))
    with pytest.raises(ClockUnknown):
        await sleep_until(shared, at(60))
    shared.observe(0.0, 0.0, at(-40))
    await sleep_until(shared, at(60))
    assert trio.current_time() == pytest.approx(100)


async def test_beats_stay_on_their_grid_however_long_the_work_takes(autojump_clock: MockClock) -> None:
    every = Every(VirtualClock(NOON), 5.0)
    times = []
    for work in (1.0, 4.5, 0.0, 3.0):
        assert await every.wait_for_next() == Tick(late_seconds=0.0, missed=0)
        times.append(trio.current_time())
        await trio.sleep(work)
    assert times == [5.0, 10.0, 15.0, 20.0]


async def test_after_a_stall_comes_one_beat_and_then_the_grid(autojump_clock: MockClock) -> None:
    every = Every(VirtualClock(NOON), 5.0)
    await every.wait_for_next()
    await trio.sleep(17.0)
    assert await every.wait_for_next() == Tick(late_seconds=2.0, missed=2)
    assert trio.current_time() == 22.0
    assert await every.wait_for_next() == Tick(late_seconds=0.0, missed=0)
    assert trio.current_time() == 25.0


async def test_a_cancelled_wait_loses_no_beat(autojump_clock: MockClock) -> None:
    every = Every(VirtualClock(NOON), 5.0)
    with trio.move_on_after(3):
        await every.wait_for_next()
    await every.wait_for_next()
    assert trio.current_time() == 5.0


async def test_a_period_must_be_positive(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="positive"):
        Every(VirtualClock(NOON), 0.0)
