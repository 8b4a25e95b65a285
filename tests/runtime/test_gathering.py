"""Questions of many tasks in one call, under cancellations at any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from runtime.gathering import CallEnded, Gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock


class Squares:
    """A call that takes `seconds`, and notes what it was asked."""

    def __init__(self, seconds: float = 1.0, failure: Exception | None = None) -> None:
        self.calls: list[list[int]] = []
        self.answers: dict[int, int | str] = {}
        self._seconds = seconds
        self._failure = failure

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        await trio.sleep(self._seconds)
        if self._failure is not None:
            raise self._failure
        return [number * number for number in numbers]

    async def ask(
        self, gathered: Gathered[int, int], number: int, scope: trio.CancelScope | None = None
    ) -> None:
        with scope or trio.CancelScope():
            try:
                self.answers[number] = await gathered.ask(number)
            except ValueError as failure:
                self.answers[number] = str(failure)


@pytest.fixture
def squares() -> Squares:
    return Squares()


async def test_what_waits_is_asked_in_one_call(
    squares: Squares, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gathered = Gathered(squares, max_together=10, pause_seconds=0.1)
    for number in (1, 2, 3):
        nursery.start_soon(squares.ask, gathered, number)
        await trio.sleep(0.01)
    await trio.sleep(5)
    assert squares.calls == [[1, 2, 3]]
    assert squares.answers == {1: 1, 2: 4, 3: 9}


async def test_questions_wait_for_the_call_under_way(
    squares: Squares, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gathered = Gathered(squares, max_together=2)
    for number in (1, 2, 3, 4, 5):
        nursery.start_soon(squares.ask, gathered, number)
        await trio.sleep(0.1)
    await trio.sleep(5)
    assert squares.calls == [[1], [2, 3], [4, 5]]
    assert len(squares.answers) == 5


async def test_everyone_in_a_call_gets_its_failure(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    squares = Squares(failure=ValueError("no"))
    gathered = Gathered(squares, max_together=10, pause_seconds=0.1)
    for number in (1, 2):
        nursery.start_soon(squares.ask, gathered, number)
    await trio.sleep(5)
    assert squares.answers == {1: "no", 2: "no"}


@pytest.mark.parametrize("cancelled", [1, 2, 3])
async def test_a_task_that_gives_up_takes_nobody_along(
    squares: Squares, nursery: trio.Nursery, autojump_clock: MockClock, cancelled: int
) -> None:
    """The first one, which would have made the call, and others."""
    gathered = Gathered(squares, max_together=10, pause_seconds=0.5)
    scopes = {number: trio.CancelScope() for number in (1, 2, 3)}
    for number, scope in scopes.items():
        nursery.start_soon(squares.ask, gathered, number, scope)
        await trio.sleep(0.1)
    scopes[cancelled].cancel()
    await trio.sleep(5)
    rest = [number for number in scopes if number != cancelled]
    assert squares.calls == [rest]
    assert sorted(squares.answers) == rest
    nursery.start_soon(squares.ask, gathered, 4)
    await trio.sleep(5)
    assert squares.answers[4] == 16


@pytest.mark.parametrize("cancelled", [1, 2])
async def test_what_was_sent_is_answered_in_spite_of_a_cancellation(
    squares: Squares, nursery: trio.Nursery, autojump_clock: MockClock, cancelled: int
) -> None:
    gathered = Gathered(squares, max_together=10, pause_seconds=0.1)
    scopes = {number: trio.CancelScope() for number in (1, 2)}
    for number, scope in scopes.items():
        nursery.start_soon(squares.ask, gathered, number, scope)
    await trio.sleep(0.5)
    scopes[cancelled].cancel()
    await trio.sleep(5)
    assert squares.answers == {1: 1, 2: 4}


async def test_a_call_that_only_reads_ends_with_its_task(
    squares: Squares, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gathered = Gathered(squares, max_together=10, shields=False)
    scopes = {number: trio.CancelScope() for number in (1, 2, 3, 4)}
    ended: list[int] = []

    async def ask(number: int) -> None:
        try:
            await squares.ask(gathered, number, scopes[number])
        except CallEnded:
            ended.append(number)

    for number in scopes:
        nursery.start_soon(ask, number)
        await trio.sleep(0.1)
    await trio.sleep(1)  # the first call is over, and the second under way
    scopes[3].cancel()  # its question was sent; nobody waits for its answer any more
    await trio.sleep(0.1)
    scopes[2].cancel()  # it makes the call
    await trio.sleep(5)
    assert squares.calls == [[1], [2, 3, 4]]
    assert (squares.answers, ended) == ({1: 1}, [4])
    assert gathered.is_idle
