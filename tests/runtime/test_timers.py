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


def shared_clock(clock: VirtualClock) -> SharedClock:
    """Return the clock as a shard that has just observed it."""
    shared = SharedClock(clock)
    observe(shared, clock)
    return shared


def observe(shared: SharedClock, clock: VirtualClock) -> None:
    now = trio.current_time()
    shared.observe(now, now, clock.wall())


async def test_it_wakes_at_the_instant(autojump_clock: MockClock) -> None:
    clock = VirtualClock(NOON)
    assert await sleep_until(shared_clock(clock), at(1234.5), unless=trio.sleep_forever)
    assert clock.wall() == at(1234.5)


async def test_an_instant_that_has_passed_is_reached_at_once(autojump_clock: MockClock) -> None:
    shared = shared_clock(VirtualClock(NOON))
    assert await sleep_until(shared, at(-7), unless=trio.sleep_forever)
    assert trio.current_time() == 0.0


async def test_a_condition_before_the_instant_ends_the_wait(autojump_clock: MockClock) -> None:
    async def something() -> None:
        await trio.sleep(50)

    assert not await sleep_until(shared_clock(VirtualClock(NOON)), at(51), unless=something)
    assert trio.current_time() == 50.0


@pytest.mark.parametrize(("step", "woken_at"), [(3600, 40.0), (-600, 3600.0), (0.5, 2999.5)])
async def test_a_stepped_clock_counts_from_its_next_observation(
    autojump_clock: MockClock, nursery: trio.Nursery, step: float, woken_at: float
) -> None:
    clock = VirtualClock(NOON)
    shared = shared_clock(clock)

    async def step_after_30_s() -> None:
        await trio.sleep(30)
        clock.step(step)
        await trio.sleep(10)
        observe(shared, clock)

    nursery.start_soon(step_after_30_s)
    assert await sleep_until(shared, at(3000), unless=trio.sleep_forever)
    assert trio.current_time() == pytest.approx(woken_at)


async def test_small_moves_of_a_clock_add_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A time server may slew the database's clock: each observation moves by less than counts."""
    clock = VirtualClock(NOON)
    shared = shared_clock(clock)

    async def slew() -> None:
        while True:
            await trio.sleep(2)
            clock.step(0.001)
            observe(shared, clock)

    nursery.start_soon(slew)
    assert await sleep_until(shared, at(3600), unless=trio.sleep_forever)
    assert clock.wall() == pytest.approx(at(3600), abs=timedelta(seconds=0.01))


async def test_a_step_moves_every_wait_that_goes_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    clock = VirtualClock(NOON)
    shared = shared_clock(clock)
    woken: list[float] = []

    async def wait(seconds: float) -> None:
        await sleep_until(shared, at(seconds), unless=trio.sleep_forever)
        woken.append(trio.current_time())

    for seconds in (10, 20, 100):
        nursery.start_soon(wait, seconds)
    await trio.sleep(15)
    clock.step(30)
    observe(shared, clock)
    await trio.sleep(60)
    assert woken == pytest.approx([10, 15, 70])


async def test_nothing_is_waited_for_before_the_clock_is_known(autojump_clock: MockClock) -> None:
    with pytest.raises(ClockUnknown):
        await sleep_until(SharedClock(VirtualClock(NOON)), at(60), unless=trio.sleep_forever)
