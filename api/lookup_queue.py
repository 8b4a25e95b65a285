"""The queue of tokens that are not in the cache and have to be looked up in the database.

Few tokens are looked up at once, so a flood of made-up ones takes few database connections.
Addresses take turns, so a flood from one address does not delay the first request of another. When
the queue is full, the address with the most waiting requests loses its last one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupLimits:
    at_once: int = 2
    waiting: int = 1024  # in all; enough for five addresses with 200 connections each
    seconds: float = 5.0  # for waiting and for the answer together


class LookupsFull(Exception):
    """The look-up is refused: its address has the most waiting, or its turn came too late."""


@dataclass(eq=False, slots=True)
class _Waiter:
    called: trio.Event = field(default_factory=trio.Event)
    gives_way: bool = False


class LookupQueue:
    """Hands out turns, address by address."""

    def __init__(self, limits: LookupLimits | None = None) -> None:
        self._limits = limits or LookupLimits()
        self._free = self._limits.at_once
        # None is empty; the address whose turn comes next is the first.
        self._queues: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the block. Raises LookupsFull.

        The wait and the block have the limit's `seconds` together; then the block is cancelled.
        """
        with trio.move_on_after(self._limits.seconds) as in_time:
            await self._wait(address)
            try:
                yield
            finally:
                self._call_next()
        if in_time.cancelled_caught:
            raise LookupsFull

    async def _wait(self, address: str) -> None:
        if self._free:
            self._free -= 1
            return
        waiter = self._queue(address)
        try:
            await waiter.called.wait()
        except trio.Cancelled:
            if waiter.called.is_set() and not waiter.gives_way:
                self._call_next()
            elif not waiter.called.is_set():
                self._remove(address, waiter)
            raise
        if waiter.gives_way:
            raise LookupsFull

    def _queue(self, address: str) -> _Waiter:
        if self._waiting >= self._limits.waiting:
            self._make_room(address)
        waiter = _Waiter()
        self._queues.setdefault(address, deque()).append(waiter)
        self._waiting += 1
        return waiter

    def _make_room(self, newcomer: str) -> None:
        longest = max(self._queues, key=lambda address: len(self._queues[address]))
        if len(self._queues[longest]) <= len(self._queues.get(newcomer, ())):
            raise LookupsFull
        waiter = self._queues[longest][-1]
        self._remove(longest, waiter)
        waiter.gives_way = True
        waiter.called.set()

    def _remove(self, address: str, waiter: _Waiter) -> None:
        queue = self._queues[address]
        queue.remove(waiter)
        self._waiting -= 1
        if not queue:
            del self._queues[address]

    def _call_next(self) -> None:
        """Pass a turn that has ended on to the next address's longest waiting request."""
        if not self._queues:
            self._free += 1
            return
        address, queue = next(iter(self._queues.items()))
        waiter = queue[0]
        self._remove(address, waiter)
        if address in self._queues:
            self._queues.move_to_end(address)
        waiter.called.set()
