"""Waiting for an instant: through steps of the clock, and until something else comes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.clock import ClockUnknown, SharedClock, VirtualClock
from runtime.timers import sleep_until

if TYPE_CHECKING:
    from trio.testing import MockClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def test_it_wakes_at_the_instant(autojump_clock: MockClock) -> None:
    clock = VirtualClock(NOON)
    assert await sleep_until(clock.wall, at(1234.5), unless=trio.sleep_forever)
    assert clock.wall() == at(1234.5)


async def test_an_instant_that_has_passed_is_reached_at_once(autojump_clock: MockClock) -> None:
    assert await sleep_until(VirtualClock(NOON).wall, at(-7), unless=trio.sleep_forever)
    assert trio.current_time() == 0.0


async def test_a_condition_before_the_instant_ends_the_wait(autojump_clock: MockClock) -> None:
    async def something() -> None:
        await trio.sleep(50)

    assert not await sleep_until(VirtualClock(NOON).wall, at(51), unless=something)
    assert trio.current_time() == 50.0


@pytest.mark.parametrize(("step", "woken_at"), [(3600, 60.0), (-600, 3600.0)])
async def test_a_stepped_clock_is_noticed_within_one_recheck(
    autojump_clock: MockClock, nursery: trio.Nursery, step: float, woken_at: float
) -> None:
    clock = VirtualClock(NOON)

    async def step_after_30_s() -> None:
        await trio.sleep(30)
        clock.step(step)

    nursery.start_soon(step_after_30_s)
    assert await sleep_until(clock.wall, at(3000), unless=trio.sleep_forever, recheck_seconds=60)
    assert trio.current_time() == pytest.approx(woken_at)


async def test_it_can_wait_for_database_time(autojump_clock: MockClock) -> None:
    shared = SharedClock(VirtualClock(NOON))
    with pytest.raises(ClockUnknown):
        await sleep_until(shared.now, at(60), unless=trio.sleep_forever)
    shared.observe(0.0, 0.0, at(-40))
    assert await sleep_until(shared.now, at(60), unless=trio.sleep_forever)
    assert trio.current_time() == pytest.approx(100)
