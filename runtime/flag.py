"""A wake-up call between tasks.

This module owns `Flag`. It must never hold data: a task that wakes looks again at the state it
waits for.
"""

from __future__ import annotations

import trio


class Flag:
    """An event that can be cleared.

    `set` and `clear` are for one waiting task that must not miss a call that came while it was
    busy. `wake` is for any number of tasks, each of which waits until something that it can look at
    is so: `while not …: await flag.wait()`.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake the tasks that wait. Until `clear`, `wait` returns at once. Never blocks."""
        self._event.set()

    def clear(self) -> None:
        """Let `wait` wait again. Never blocks."""
        if self._event.is_set():
            self._event = trio.Event()

    def wake(self) -> None:
        """Wake the tasks that wait now, and leave the flag clear. Never blocks."""
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        """Wait until the flag is set or `wake` is called.

        The caller's cancel scope is the deadline.
        """
        await self._event.wait()
