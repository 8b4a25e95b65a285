"""Answers that may be given again for some seconds, by the question.

Owns how long they are kept and how many, and that those who ask the same question at the same time
share one answer. A question must include all on which its answer depends, such as the workspaces
that its asker sees.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import trio

from runtime.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class _KeptAnswer(NamedTuple, Generic[T]):
    content: T
    asked_at: float  # before its making began


class KeptAnswers(Generic[T]):
    """At most `max_kept` answers; those that were made longest ago are dropped."""

    def __init__(self, max_kept: int) -> None:
        self._max_kept = max_kept
        self._kept: OrderedDict[Hashable, _KeptAnswer[T]] = OrderedDict()
        self._flights: SingleFlight[_KeptAnswer[T]] = SingleFlight()

    async def find(self, question: Hashable, max_age: float, make: Callable[[], Awaitable[T]]) -> T:
        """Return a kept answer that is at most so many seconds old, or make one.

        What `make` raises reaches all that wait for it. If it is cancelled, another of them makes
        the answer.
        """
        kept = self._kept.get(question)
        if kept is None or trio.current_time() - kept.asked_at > max_age:

            async def make_anew() -> _KeptAnswer[T]:
                asked_at = trio.current_time()
                return _KeptAnswer(await make(), asked_at)

            kept = self._kept[question] = await self._flights.share(question, make_anew)
            self._kept.move_to_end(question)
            while len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        return kept.content
