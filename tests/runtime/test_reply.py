"""A reply is answered once, and waits for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from runtime.reply import Reply

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_waiter_gets_the_value_given_later(nursery: trio.Nursery) -> None:
    reply: Reply[int] = Reply()
    nursery.start_soon(trio.lowlevel.checkpoint)
    assert not reply.done
    assert reply.resolve(3)
    assert (reply.done, await reply.wait()) == (True, 3)


async def test_a_failure_is_raised_as_the_object_that_was_given() -> None:
    reply: Reply[int] = Reply()
    error = ValueError("no")
    assert reply.fail(error)
    with pytest.raises(ValueError, match="no") as caught:
        await reply.wait()
    assert caught.value is error


async def test_the_first_answer_wins_and_later_ones_are_told_so() -> None:
    reply: Reply[str] = Reply()
    assert reply.resolve("first")
    assert not reply.resolve("second")
    assert not reply.fail(ValueError("third"))
    assert await reply.wait() == "first"


async def test_none_is_an_answer() -> None:
    reply: Reply[None] = Reply()
    reply.resolve(None)
    await reply.wait()
    assert reply.done


async def test_giving_up_the_wait_does_not_take_the_answer_away(autojump_clock: MockClock) -> None:
    reply: Reply[int] = Reply()
    with trio.move_on_after(1) as scope:
        await reply.wait()
    assert scope.cancelled_caught
    assert reply.resolve(4)
    assert await reply.wait() == 4
