"""Clocks: virtual time follows trio's; round trips bound the error of database time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.clock import ClockUnknown, SharedClock, SystemClock, VirtualClock

if TYPE_CHECKING:
    from trio.testing import MockClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def test_the_system_clock_is_aware_utc_and_on_trios_scale() -> None:
    clock = SystemClock()
    assert clock.wall().utcoffset() == timedelta(0)
    assert trio.current_time() <= clock.monotonic() <= trio.current_time()


async def test_a_virtual_clock_follows_virtual_time_and_can_be_stepped(
    autojump_clock: MockClock,
) -> None:
    clock = VirtualClock(NOON)
    await trio.sleep(90)
    assert (clock.wall(), clock.monotonic()) == (at(90), 90.0)
    clock.step(-60)
    assert (clock.wall(), clock.monotonic()) == (at(30), 90.0)


async def test_a_shared_clock_does_not_guess_before_its_first_sample(
    autojump_clock: MockClock,
) -> None:
    shared = SharedClock(VirtualClock(NOON))
    with pytest.raises(ClockUnknown):
        shared.now()
    with pytest.raises(ClockUnknown):
        shared.at(3.0)
    assert (shared.uncertainty_seconds, shared.is_certain) == (math.inf, False)
    assert shared.statistics().uncertainty_seconds is None


async def test_database_time_is_read_at_the_midpoint_of_the_round_trip(
    autojump_clock: MockClock,
) -> None:
    shared = SharedClock(VirtualClock(NOON))
    shared.observe(sent_at=0.0, received_at=0.4, server_time=at(1000))
    assert shared.at(0.2) == at(1000)
    assert shared.at(10.2) == at(1010)
    await trio.sleep(5.2)
    assert shared.now() == at(1005)
    assert shared.wall() == shared.now()


async def test_uncertainty_is_half_the_round_trip_and_grows_with_age(
    autojump_clock: MockClock,
) -> None:
    shared = SharedClock(VirtualClock(NOON))
    shared.observe(0.0, 0.0, NOON)
    assert shared.uncertainty_seconds == 0.0
    await trio.sleep(1000)
    assert shared.uncertainty_seconds == pytest.approx(0.1)


@pytest.mark.parametrize(("round_trip", "certain"), [(2.0, True), (2.1, False)])
async def test_it_is_certain_up_to_a_second(
    round_trip: float, certain: bool, autojump_clock: MockClock
) -> None:
    shared = SharedClock(VirtualClock(NOON))
    await trio.sleep(round_trip / 2)
    shared.observe(0.0, round_trip, at(0))
    assert shared.is_certain is certain


async def test_a_slower_round_trip_does_not_replace_a_tight_one(autojump_clock: MockClock) -> None:
    shared = SharedClock(VirtualClock(NOON))
    shared.observe(0.0, 0.002, at(0.001))
    shared.observe(5.0, 5.8, at(5.7))
    assert shared.at(100.0) == at(100)


async def test_an_aged_sample_gives_way_to_one_that_is_tighter_by_now(
    autojump_clock: MockClock,
) -> None:
    shared = SharedClock(VirtualClock(NOON))
    shared.observe(0.0, 0.002, at(0.001))
    shared.observe(
        1000.0, 1000.1, at(1000.06)
    )  # half a trip of 50 ms against 1 ms and 100 ms of drift
    assert shared.at(1000.05) == at(1000.06)
    assert shared.statistics().steps == 0


async def test_a_sample_that_contradicts_the_held_one_wins(
    autojump_clock: MockClock,
) -> None:
    shared = SharedClock(VirtualClock(NOON))
    shared.observe(0.0, 0.002, at(0.001))
    shared.observe(5.0, 5.8, at(5.4 + 30))
    assert shared.at(5.4) == at(35.4)
    assert shared.statistics().steps == 1


async def test_nonsense_observations_are_refused(autojump_clock: MockClock) -> None:
    shared = SharedClock(VirtualClock(NOON))
    with pytest.raises(ValueError, match="before it began"):
        shared.observe(2.0, 1.0, NOON)
    with pytest.raises(ValueError, match="no time zone"):
        shared.observe(1.0, 2.0, datetime(2026, 3, 1))  # noqa: DTZ001 - the naive time is the point


async def test_other_zones_are_turned_into_utc(autojump_clock: MockClock) -> None:
    shared = SharedClock(VirtualClock(NOON))
    shared.observe(0.0, 0.0, NOON.astimezone(timezone(timedelta(hours=2))))
    assert shared.at(0.0).utcoffset() == timedelta(0)
