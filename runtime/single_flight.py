"""One run of a piece of work for all that want its answer at the same time.

Owns who runs it: the first that asks, in its own task, so that no task is left behind. The others
wait. If the first is cancelled, one of the others runs the work anew, and none of them notices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


@dataclass(slots=True)
class _SharedRun(Generic[T]):
    """A run under way, and how it ended. Without an answer and a failure, it was cancelled."""

    ended: trio.Event = field(default_factory=trio.Event)
    answer: tuple[T] | None = None
    failure: Exception | None = None


class SingleFlight(Generic[T]):
    """The runs that are under way, by what they answer. There are at most as many as callers."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _SharedRun[T]] = {}

    async def share(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of `work`, run by this call or by another that is under way.

        It waits as long as the work does, so that must have a bound. What the work raises reaches
        all that wait for it.
        """
        while True:
            flight = self._flights.get(key)
            if flight is None:
                return await self._run(key, work)
            await flight.ended.wait()
            if flight.answer is not None:
                return flight.answer[0]
            if flight.failure is not None:
                raise flight.failure

    async def _run(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        flight = self._flights[key] = _SharedRun[T]()
        try:
            answer = await work()
        except Exception as failure:
            flight.failure = failure
            raise
        else:
            flight.answer = (answer,)
            return answer
        finally:
            del self._flights[key]
            flight.ended.set()
