"""The trust window: how long a shard may believe in its own session.

docs/ownership.md says what it is for. It must never say whether the session is live: the database
does.
"""

from __future__ import annotations

import trio

from runtime.flag import Flag

MARGIN_SHARE = 0.1


class TrustWindow:
    """The time until which a shard may trust its own session.

    Times are monotonic seconds (trio.current_time).
    """

    def __init__(self, ttl_seconds: float) -> None:
        self._good_for_seconds = ttl_seconds * (1 - MARGIN_SHARE)
        self._until = float("-inf")
        self._opened_at = float("-inf")
        self._changed = Flag()

    def renewed(self, sent_at: float) -> None:
        """Extend the trust, because a renewal that was sent at `sent_at` succeeded."""
        if not self.is_open:
            self._opened_at = trio.current_time()
        self._until = max(self._until, sent_at + self._good_for_seconds)
        self._changed.wake()

    def end(self) -> None:
        """Trust nothing until another renewal succeeds, because the session is known to be over."""
        self._until = float("-inf")
        self._changed.wake()

    @property
    def is_open(self) -> bool:
        return trio.current_time() < self._until

    @property
    def open_for_seconds(self) -> float:
        """Return how long the window has been open without a break; zero while it is closed."""
        return trio.current_time() - self._opened_at if self.is_open else 0.0

    @property
    def seconds_left(self) -> float:
        """Return the seconds left: negative when over, minus infinity before the first renewal."""
        return self._until - trio.current_time()

    async def wait_closed(self) -> None:
        """Return when the window has closed.

        Bounded by the window itself, which every renewal extends.
        """
        while self.is_open:
            with trio.move_on_after(self.seconds_left):
                await self._changed.wait()

    async def wait_open(self) -> None:
        """Return when the window is open, after the next renewal if it is closed.

        No deadline: without the database there is nothing to do.
        """
        while not self.is_open:
            await self._changed.wait()
