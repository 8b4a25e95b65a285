"""Those who ask at the same time share one run, and none suffers from the end of another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Work:
    """Work that ends when it is let go; it counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = trio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return self.runs


class Askers:
    """Tasks that ask for `key`, and what each of them got."""

    def __init__(self) -> None:
        self.work = Work()
        self.flights: SingleFlight[int] = SingleFlight()
        self.found: list[object] = []

    async def ask(self, key: str = "a") -> None:
        try:
            self.found.append(await self.flights.share(key, self.work))
        except ValueError as failure:
            self.found.append(str(failure))

    async def run(self, *tasks: Callable[[], Awaitable[None]]) -> None:
        """Start the tasks, and let the work go when all of them wait."""
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)
                await wait_all_tasks_blocked()
            self.work.go.set()


async def test_all_who_ask_meanwhile_get_the_answer_of_one_run() -> None:
    askers = Askers()
    await askers.run(*[askers.ask] * 8)
    assert (askers.found, askers.work.runs) == ([1] * 8, 1)


async def test_a_later_question_is_a_run_of_its_own() -> None:
    askers = Askers()
    await askers.run(askers.ask)
    await askers.run(askers.ask)
    assert askers.found == [1, 2]


async def test_other_questions_do_not_share_a_run() -> None:
    askers = Askers()
    await askers.run(partial(askers.ask, "a"), partial(askers.ask, "b"))
    assert askers.work.runs == 2


async def test_when_the_first_is_cancelled_another_runs_it() -> None:
    askers, first = Askers(), trio.CancelScope()

    async def ask_first() -> None:
        with first:
            await askers.ask()

    async def cancel_first() -> None:
        first.cancel()

    await askers.run(ask_first, *[askers.ask] * 3, cancel_first)
    assert (first.cancelled_caught, askers.found, askers.work.runs) == (True, [2] * 3, 2)


async def test_one_that_waits_can_be_cancelled_alone() -> None:
    askers = Askers()

    async def ask_shortly() -> None:
        with trio.move_on_after(0):
            await askers.ask()

    await askers.run(askers.ask, ask_shortly)
    assert (askers.found, askers.work.runs) == ([1], 1)


async def test_a_failure_reaches_all_and_is_not_kept() -> None:
    askers = Askers()
    askers.work.failure = ValueError("away")
    await askers.run(*[askers.ask] * 3)
    assert (askers.found, askers.work.runs) == (["away"] * 3, 1)
    with pytest.raises(ValueError, match="away"):
        await askers.flights.share("a", askers.work)
    assert askers.work.runs == 2
