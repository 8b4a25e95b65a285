"""The trust window under autojump: how long a shard may believe in its own session."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.trust_window import MARGIN_SHARE, TrustWindow

if TYPE_CHECKING:
    from trio.testing import MockClock

TTL = 15.0
GOOD_FOR = TTL * (1 - MARGIN_SHARE)


@pytest.fixture
async def window() -> TrustWindow:
    return TrustWindow(TTL)


async def test_a_window_is_closed_before_the_first_renewal(
    window: TrustWindow, autojump_clock: MockClock
) -> None:
    assert not window.is_open
    assert window.seconds_left == -math.inf
    await window.wait_closed()


async def test_trust_counts_from_when_the_renewal_was_sent(
    window: TrustWindow, autojump_clock: MockClock
) -> None:
    sent_at = trio.current_time()
    await trio.sleep(4)  # the answer took its time
    window.renewed(sent_at)
    assert window.seconds_left == pytest.approx(GOOD_FOR - 4)
    await window.wait_closed()
    assert trio.current_time() == pytest.approx(sent_at + GOOD_FOR)
    assert not window.is_open


async def test_a_renewal_whose_answer_came_too_late_opens_nothing(
    window: TrustWindow, autojump_clock: MockClock
) -> None:
    sent_at = trio.current_time()
    await trio.sleep(GOOD_FOR)
    window.renewed(sent_at)
    assert not window.is_open


async def test_renewals_extend_the_window_for_tasks_that_await_its_end(
    window: TrustWindow, autojump_clock: MockClock
) -> None:
    async def renew() -> None:
        for _ in range(4):
            await trio.sleep(5)
            window.renewed(trio.current_time())

    window.renewed(trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renew)
        await window.wait_closed()
    assert trio.current_time() == pytest.approx(20 + GOOD_FOR)


async def test_an_older_renewal_answered_last_does_not_shorten_trust(
    window: TrustWindow, autojump_clock: MockClock
) -> None:
    await trio.sleep(10)
    window.renewed(10.0)
    window.renewed(5.0)
    assert window.seconds_left == pytest.approx(GOOD_FOR)


async def test_the_end_of_a_session_closes_the_window_at_once(
    window: TrustWindow, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    window.renewed(trio.current_time())
    closed = trio.Event()

    async def wait() -> None:
        await window.wait_closed()
        closed.set()

    nursery.start_soon(wait)
    await trio.sleep(3)
    window.end()
    assert not window.is_open
    await closed.wait()
    assert trio.current_time() == 3


async def test_a_renewal_after_the_end_opens_it_and_wakes_every_waiter(
    window: TrustWindow, autojump_clock: MockClock
) -> None:
    window.renewed(trio.current_time())
    window.end()
    opened_at = []

    async def wait() -> None:
        await window.wait_open()
        opened_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(7)
        window.renewed(trio.current_time())
    assert opened_at == [7, 7]


async def test_a_renewal_that_came_too_late_wakes_no_waiter(
    window: TrustWindow, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(60) as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(window.wait_open)
            await trio.sleep(30)
            window.renewed(1.0)
    assert waiting.cancelled_caught
