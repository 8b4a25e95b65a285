"""An answer is given again while it is young, and the oldest ones are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from runtime.kept_answers import KeptAnswers

if TYPE_CHECKING:
    from trio.testing import MockClock


class Maker:
    """Makes 1, 2, 3, …, each in a second."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self) -> int:
        self.made += 1
        made = self.made
        await trio.sleep(1)
        return made


@pytest.mark.parametrize(("seconds", "found"), [(3.9, 1), (4.1, 2)])
async def test_an_answer_is_as_old_as_its_question(
    autojump_clock: MockClock, seconds: float, found: int
) -> None:
    """Its age counts from the beginning of its making."""
    kept, make = KeptAnswers[int](9), Maker()
    await kept.find("a", 5.0, make)
    await trio.sleep(seconds)
    assert await kept.find("a", 5.0, make) == found


async def test_a_question_that_wants_a_younger_one_gets_it(autojump_clock: MockClock) -> None:
    kept, make = KeptAnswers[int](9), Maker()
    await kept.find("a", 5.0, make)
    await trio.sleep(2)
    assert await kept.find("a", 1.0, make) == 2
    assert await kept.find("a", 5.0, make) == 2


async def test_the_answer_made_longest_ago_is_dropped(autojump_clock: MockClock) -> None:
    kept, make = KeptAnswers[int](2), Maker()
    for question in ("a", "b", "a", "c", "b"):
        await kept.find(question, 60.0, make)
    assert make.made == 3
    await kept.find("a", 60.0, make)
    assert make.made == 4


async def test_a_failure_is_not_kept(autojump_clock: MockClock) -> None:
    kept, make = KeptAnswers[int](2), Maker()

    async def fail() -> int:
        raise ValueError("away")

    with pytest.raises(ValueError, match="away"):
        await kept.find("a", 5.0, fail)
    assert await kept.find("a", 5.0, make) == 1


async def test_who_joins_a_run_gets_no_answer_that_is_too_old(autojump_clock: MockClock) -> None:
    """Those to whom it is too old share one that is begun after they asked."""
    kept, make = KeptAnswers[int](9), Maker()
    found: list[tuple[float, int, float]] = []

    async def ask(after: float, max_age: float) -> None:
        await trio.sleep(after)
        answer = await kept.find("a", max_age, make)
        found.append((after, answer, trio.current_time() - began_at))

    began_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        for after, max_age in ((0.0, 0.2), (0.5, 2.0), (0.6, 0.2), (0.7, 0.2)):
            nursery.start_soon(ask, after, max_age)
    assert sorted((after, answer) for after, answer, _ in found) == [
        (0.0, 1),
        (0.5, 1),
        (0.6, 2),
        (0.7, 2),
    ]
    assert max(ended for _, _, ended in found) == pytest.approx(2)


async def test_a_dropped_answer_is_made_anew(autojump_clock: MockClock) -> None:
    kept, make = KeptAnswers[int](9), Maker()
    kept.drop("a", 1)
    assert await kept.find("a", 5.0, make) == 1
    kept.drop("a", 1)
    assert await kept.find("a", 5.0, make) == 2


async def test_who_drops_an_older_answer_drops_no_newer(autojump_clock: MockClock) -> None:
    kept, make = KeptAnswers[int](9), Maker()
    await kept.find("a", 5.0, make)
    await trio.sleep(5)
    assert await kept.find("a", 5.0, make) == 2
    kept.drop("a", 1)
    assert await kept.find("a", 5.0, make) == 2
