"""One answer, given once.

This module owns `Reply`, the way back from an actor to the sender of a request. It must never hold
a queue, a timeout or a second answer: the deadline belongs to the waiter.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Reply(Generic[T]):
    """A one-shot value or failure.

    The first answer wins; a later one returns False and changes nothing.

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
        """Answer with a value. Never blocks.

        Returns False and changes nothing if an answer was already given.
        """
        if self._answered.is_set():
            return False
        self._value = value
        self._answered.set()
        return True

    def fail(self, error: BaseException) -> bool:
        """Answer with a failure that `wait` raises. Never blocks.

        Returns False and changes nothing if an answer was already given.
        """
        if self._answered.is_set():
            return False
        self._error = error
        self._answered.set()
        return True

    async def wait(self) -> T:
        """Wait for the answer, and return its value or raise its failure.

        Use a cancel scope for a deadline. A cancelled wait does not remove the answer.
        """
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        # Answered without an error, so the value is a T. None may be one, so it is not asserted.
        return self._value  # type: ignore[return-value]
