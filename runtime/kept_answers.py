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

        An answer whose making began after this call is young enough, however long it took. What
        `make` raises reaches all that wait for it. If it is cancelled, another of them makes the
        answer.
        """

        async def make_anew() -> _KeptAnswer[T]:
            began_at = trio.current_time()
            made = _KeptAnswer(await make(), began_at)
            self._keep(question, made)
            return made

        called_at = trio.current_time()
        found = self._kept.get(question)
        # Twice at most: a run under way may be too old, and the next begins after the call.
        while found is None or found.asked_at < min(called_at, trio.current_time() - max_age):
            found = await self._flights.share(question, make_anew)
        return found.content

    def drop(self, question: Hashable, content: T) -> None:
        """Forget this answer, which no longer holds. Another one that is kept by now stays."""
        kept = self._kept.get(question)
        if kept is not None and kept.content is content:
            del self._kept[question]

    def _keep(self, question: Hashable, made: _KeptAnswer[T]) -> None:
        self._kept[question] = made
        self._kept.move_to_end(question)
        while len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)
