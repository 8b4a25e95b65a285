"""Items of the mailbox that a receiver passes over, and receivers that wait for more than one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

from runtime.mailbox import Mailbox
from runtime.mailbox_lane import MAX_PASSED_SIZE, LaneLimits
from tests.runtime.parked_senders import one_lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


def filled(*items: str) -> Mailbox[str]:
    mailbox = one_lane()
    for item in items:
        mailbox.send_nowait("poll", item, 1)
    return mailbox


def without(*passed: str) -> Callable[[str], bool]:
    return lambda item: item not in passed


async def test_what_was_passed_over_comes_first_and_in_order() -> None:
    mailbox = filled("a", "b", "c", "d")
    assert mailbox.take_nowait(1, without("a", "b")) == ["c"]
    assert mailbox.take_nowait(10, without("a")) == ["b", "d"]
    assert await mailbox.receive_batch(10) == ["a"]


async def test_what_is_left_by_a_full_batch_keeps_its_place() -> None:
    mailbox = filled("a", "b", "c", "d", "e", "f")
    assert mailbox.take_nowait(1, without("a", "b", "c", "d")) == ["e"]
    assert mailbox.take_nowait(1, without("a")) == ["b"]
    assert await mailbox.receive_batch(10) == ["a", "c", "d", "f"]


async def test_a_batch_is_empty_when_no_item_is_admitted() -> None:
    mailbox = filled("a", "b")
    assert mailbox.take_nowait(10, without("a", "b")) == []
    assert mailbox.statistics().lanes["poll"].waiting_items == 2
    assert mailbox.take_all() == ["a", "b"]


async def test_the_lane_that_is_furthest_behind_is_asked_first() -> None:
    mailbox: Mailbox[str] = Mailbox({"busy": LaneLimits(100, 1), "calm": LaneLimits(100, 1)})
    for item in ("busy-1", "busy-2"):
        mailbox.send_nowait("busy", item, 10)
    assert mailbox.take_nowait(10) == ["busy-1"]
    mailbox.send_nowait("calm", "calm-1", 10)
    asked: list[str] = []

    def admits(item: str) -> bool:
        asked.append(item)
        return True

    mailbox.take_nowait(10, admits)
    assert asked[0] == "calm-1"


async def test_so_many_are_passed_over_and_no_more() -> None:
    mailbox: Mailbox[int] = Mailbox({"poll": LaneLimits(10 * MAX_PASSED_SIZE, 1)})
    for item in range(3 * MAX_PASSED_SIZE):
        mailbox.send_nowait("poll", item, 1)
    asked: list[int] = []

    def admits(item: int) -> bool:
        asked.append(item)
        return item == MAX_PASSED_SIZE

    for _ in range(2):
        assert mailbox.take_nowait(10, admits) == []
        assert asked == list(range(MAX_PASSED_SIZE))
        asked.clear()
    assert len(mailbox.take_nowait(5, lambda item: item < 5)) == 5
    assert mailbox.take_nowait(5, admits) == [MAX_PASSED_SIZE]


async def test_what_is_passed_over_still_waits(autojump_clock: MockClock) -> None:
    mailbox = filled("a", "b")
    await trio.sleep(3)
    mailbox.take_nowait(1, without("a"))
    await trio.sleep(4)
    assert mailbox.oldest_waiting_seconds() == 7


async def test_a_receiver_may_wait_for_items_of_some_size(nursery: trio.Nursery) -> None:
    mailbox = filled("a")
    got: list[str] = []

    async def receive() -> None:
        await mailbox.wait_for(3)
        got.extend(mailbox.take_nowait(10))

    nursery.start_soon(receive)
    mailbox.send_nowait("poll", "b", 1)
    await trio.testing.wait_all_tasks_blocked()
    assert got == []
    mailbox.send_nowait("poll", "c", 1)
    await trio.testing.wait_all_tasks_blocked()
    assert got == ["a", "b", "c"]


async def test_a_closed_mailbox_keeps_no_receiver_waiting_for_more() -> None:
    mailbox = filled("a")
    mailbox.close()
    await mailbox.wait_for(3)
    assert mailbox.take_nowait(10) == ["a"]
