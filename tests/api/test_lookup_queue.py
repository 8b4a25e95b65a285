"""Few keys are looked up at once, addresses take turns, and the longest queue is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from api.lookup_queue import LookupLimits, LookupQueue, LookupsFull

if TYPE_CHECKING:
    from trio.testing import MockClock


class Scene:
    """A queue in which each turn takes a second.

    `order` has the names in the order in which their turns ended, `refused` those that got no turn.
    """

    def __init__(self, **limits: float) -> None:
        chosen: dict[str, Any] = {"at_once": 1, "waiting": 100, "seconds": 60, **limits}
        self.lookups = LookupQueue(LookupLimits(**chosen))
        self.order: list[str] = []
        self.refused: list[str] = []

    async def wait(self, address: str) -> None:
        try:
            async with self.lookups.turn(address):
                await trio.sleep(1)
            self.order.append(address)
        except LookupsFull:
            self.refused.append(address)

    async def queue(self, nursery: trio.Nursery, *addresses: str) -> None:
        for address in addresses:
            nursery.start_soon(self.wait, address)
            await trio.testing.wait_all_tasks_blocked()


async def test_addresses_take_turns(autojump_clock: MockClock) -> None:
    scene = Scene()
    async with trio.open_nursery() as nursery:
        await scene.queue(nursery, *"aaaaaabcb")
    assert "".join(scene.order) == "aabcabaaa"


async def test_of_one_address_the_request_that_came_first_is_next(
    autojump_clock: MockClock,
) -> None:
    lookups, order = LookupQueue(LookupLimits(at_once=1)), list[int]()

    async def wait(number: int) -> None:
        async with lookups.turn("a"):
            order.append(number)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3]


async def test_a_request_cancelled_while_giving_way_costs_no_other(
    autojump_clock: MockClock,
) -> None:
    scene = Scene(waiting=2)
    async with trio.open_nursery() as nursery:
        await scene.queue(nursery, "a", "b")
        with trio.CancelScope() as gone:
            async with trio.open_nursery() as cancelled:
                await scene.queue(cancelled, "b")
                nursery.start_soon(scene.wait, "c")
                gone.cancel()
    assert (scene.order, scene.refused) == (["a", "b", "c"], [])


async def test_when_it_is_full_the_longest_queue_gives_way(autojump_clock: MockClock) -> None:
    scene = Scene(waiting=4)
    async with trio.open_nursery() as nursery:
        await scene.queue(nursery, *"aaaaab", "a", "c")
    assert scene.refused == ["a", "a", "a"]
    assert sorted(scene.order) == ["a", "a", "a", "b", "c"]


async def test_a_turn_that_does_not_come_in_time_is_refused(autojump_clock: MockClock) -> None:
    scene = Scene(seconds=2.5)
    async with trio.open_nursery() as nursery:
        await scene.queue(nursery, *"aaaa")
    assert (scene.order, scene.refused) == (["a", "a"], ["a", "a"])
    await scene.wait("a")
    assert len(scene.order) == 3


async def test_a_cancelled_request_leaves_no_turn_behind(autojump_clock: MockClock) -> None:
    scene = Scene()
    for after in (0.5, 1.0, 1.5):  # during its own turn, as the next is called, and while waiting
        with trio.move_on_after(after):
            async with trio.open_nursery() as nursery:
                await scene.queue(nursery, *"aabb")
    with trio.fail_after(1.5):
        await scene.wait("c")


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_never_more_than_so_many_at_once(autojump_clock: MockClock, at_once: int) -> None:
    scene = Scene(at_once=at_once)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await scene.queue(nursery, *"aaaaaa")
    assert trio.current_time() - began == pytest.approx(6 / at_once)
