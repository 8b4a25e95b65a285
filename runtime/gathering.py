"""Questions that many tasks ask at about the same time, answered together by one call.

This module owns `Gathered`. It must never decide what a call does. It has no task of its own: the
task whose question has waited longest makes the call for all.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class CallEnded(Exception):
    """The call ended without an answer: the task that made it was cancelled."""


class _Asked(Generic[Question, Answer]):
    """A question, and what has become of it. `news`: answered, or its task is to make the call."""

    __slots__ = (
        "answer",
        "failure",
        "is_answered",
        "is_sent",
        "news",
        "question",
        "scope",
        "traceback",
    )

    def __init__(self, question: Question) -> None:
        self.question = question
        self.scope = trio.CancelScope()  # shielded from the moment when the question is sent
        self.news = trio.Event()
        self.is_sent = False
        self.is_answered = False
        self.answer: Answer | None = None
        self.failure: Exception | None = CallEnded("the call ended without an answer")
        self.traceback: TracebackType | None = None


class Gathered(Generic[Question, Answer]):
    """Makes one call at a time, for all questions that wait.

    `call` gets the questions, oldest first, and returns as many answers in the same order. It must
    bound its own time: once a question is sent, its task waits for the answer even if it is
    cancelled, because the call may have changed something. An exception of the call is raised in
    every task whose question was in it. No more questions wait than there are tasks that ask.

    A call that only reads need not be waited for: with `shields=False` a task may be cancelled at
    any time. If it was the one that made the call, CallEnded is raised in the others.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        *,
        max_together: int,
        pause_seconds: float = 0.0,
        shields: bool = True,
    ) -> None:
        """`pause_seconds`: for how long the first question waits for others."""
        self._call = call
        self._max_together = max_together
        self._pause_seconds = pause_seconds
        self._shields = shields
        self._waiting: deque[_Asked[Question, Answer]] = deque()
        # The one that makes the next call or the present one. While there is none, nothing waits.
        self._leader: _Asked[Question, Answer] | None = None

    @property
    def is_idle(self) -> bool:
        """Return whether nobody asks."""
        return self._leader is None

    async def ask(self, question: Question) -> Answer:
        """Return the answer. Raises what the call raised.

        Cancelled only before it is sent, unless `shields` is False.
        """
        asked: _Asked[Question, Answer] = _Asked(question)
        self._waiting.append(asked)
        try:
            with asked.scope:
                if self._leader is None:
                    self._leader = asked
                else:
                    await asked.news.wait()
                if not asked.is_answered:
                    await self._lead()
        finally:
            self._leave(asked)
        if asked.failure is not None:
            # Else each task that raises it would add its frames to those of the others.
            raise asked.failure.with_traceback(asked.traceback)
        return cast("Answer", asked.answer)

    async def _lead(self) -> None:
        """Wait for others, make the call, and answer all whose questions were in it."""
        await trio.sleep(self._pause_seconds)
        count = min(len(self._waiting), self._max_together)
        sent = [self._waiting.popleft() for _ in range(count)]
        for asked in sent:
            asked.is_sent, asked.scope.shield = True, self._shields
        try:
            answers = await self._call([asked.question for asked in sent])
        except Exception as failure:
            for asked in sent:
                asked.failure, asked.traceback = failure, failure.__traceback__
        else:
            for asked, answer in zip(sent, answers, strict=True):
                asked.answer, asked.failure = answer, None
        finally:
            for asked in sent:
                asked.is_answered = True
                asked.news.set()

    def _leave(self, asked: _Asked[Question, Answer]) -> None:
        """Forget a question, and let the one that waits longest make the next call."""
        if not asked.is_sent:
            self._waiting.remove(asked)
        if self._leader is asked:
            self._leader = self._waiting[0] if self._waiting else None
            if self._leader is not None:
                self._leader.news.set()
