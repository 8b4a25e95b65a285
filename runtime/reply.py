"""One answer, given once.

Owns `Reply`, the way back from an actor to whoever sent it something. It must never hold a queue, a timeout or a
second answer: the deadline belongs to the one who waits.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Reply(Generic[T]):
    """A one-shot value or failure. The first answer wins; later ones are refused by returning False.

    Meant for one waiter: a failure is raised as the very object that was given.
    """

    __slots__ = ("_answered", "_error", "_value")

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._error: BaseException | None = None
        self._value: T | None = None

    @property
    def done(self) -> bool:
        return self._answered.is_set()

    def resolve(self, value: T) -> bool:
        """Answer with a value. False, and nothing changes, when an answer was already given. Never blocks."""
        if self._answered.is_set():
            return False
        self._value = value
        self._answered.set()
        return True

    def fail(self, error: BaseException) -> bool:
        """Answer with a failure that `wait` raises. False, and nothing changes, when an answer was already given."""
        if self._answered.is_set():
            return False
        self._error = error
        self._answered.set()
        return True

    async def wait(self) -> T:
        """The answer, as soon as there is one. Bound it by a cancel scope; giving up does not take the answer away."""
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # a T once answered without an error; T may itself be None
