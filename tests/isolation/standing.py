"""A gateway to each filled database that stays open from one test to the next.

A fresh backend reads the catalogue anew, and that takes longer than a scenario.
"""

from __future__ import annotations

import math
import threading
from contextlib import AsyncExitStack, aclosing, contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import outcome
import trio

from storage.gateway import Database, open_bridge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from outcome import Outcome

T = TypeVar("T")

START_SECONDS: Final = 10.0
WORK_SECONDS: Final = 60.0


class Job(NamedTuple):
    work: Callable[[], Awaitable[Any]]
    answer: SimpleQueue[Outcome[Any]]


class Standing:
    """A trio loop in a thread of its own, which runs one piece of work after the other."""

    def __init__(self) -> None:
        self._started: SimpleQueue[trio.lowlevel.TrioToken] = SimpleQueue()
        self._databases: dict[str, Database] = {}
        self._jobs, self._received = trio.open_memory_channel[Job](math.inf)

    @contextmanager
    def running(self) -> Iterator[Standing]:
        """Run the loop for the length of the block."""
        thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)
        thread.start()
        self._token = self._started.get(timeout=START_SECONDS)
        try:
            yield self
        finally:
            trio.from_thread.run_sync(self._jobs.close, trio_token=self._token)
            thread.join(START_SECONDS)

    def run(self, work: Callable[..., Awaitable[T]], dsn: str, *arguments: Any) -> T:
        """Call `work` with the gateway to this database, and return its answer.

        Raises its exception.
        """
        job = Job(partial(self._work, work, dsn, arguments), SimpleQueue())
        trio.from_thread.run_sync(self._jobs.send_nowait, job, trio_token=self._token)
        result: T = job.answer.get(timeout=WORK_SECONDS).unwrap()
        return result

    async def _work(
        self, work: Callable[..., Awaitable[T]], dsn: str, arguments: tuple[Any, ...]
    ) -> T:
        if dsn not in self._databases:
            self._databases[dsn] = await self._closing.enter_async_context(aclosing(Database(dsn)))
        return await work(self._databases[dsn], *arguments)

    async def _serve(self) -> None:
        async with open_bridge(), AsyncExitStack() as self._closing, self._received:
            self._started.put(trio.lowlevel.current_trio_token())
            async for job in self._received:
                job.answer.put(await outcome.acapture(job.work))
