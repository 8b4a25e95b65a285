"""A flag wakes the tasks that wait, and remembers only what `set` told it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from runtime.flag import Flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


@pytest.mark.parametrize("call", [Flag.set, Flag.wake])
async def test_a_call_wakes_every_task_that_waits(
    call: Callable[[Flag], None], autojump_clock: MockClock
) -> None:
    flag, woken = Flag(), []

    async def wait(name: str) -> None:
        await flag.wait()
        woken.append(name)

    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "a")
            nursery.start_soon(wait, "b")
            await trio.testing.wait_all_tasks_blocked()
            assert woken == []
            call(flag)
    assert sorted(woken) == ["a", "b"]


@pytest.mark.parametrize(
    ("calls", "waits"),
    [
        ((), True),
        ((Flag.set,), False),
        ((Flag.set, Flag.set, Flag.clear), True),
        ((Flag.set, Flag.clear, Flag.set), False),
        ((Flag.clear,), True),
        ((Flag.wake,), True),
        ((Flag.set, Flag.wake), True),
    ],
)
async def test_a_later_wait_returns_at_once_only_while_it_is_set(
    calls: tuple[Callable[[Flag], None], ...], waits: bool, autojump_clock: MockClock
) -> None:
    flag = Flag()
    for call in calls:
        call(flag)
    with trio.move_on_after(1) as waiting:
        await flag.wait()
    assert waiting.cancelled_caught is waits


async def test_clearing_does_not_lose_a_task_that_waits(autojump_clock: MockClock) -> None:
    flag = Flag()
    with trio.move_on_after(1) as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flag.wait)
            await trio.testing.wait_all_tasks_blocked()
            flag.clear()
            flag.set()
    assert not waiting.cancelled_caught
