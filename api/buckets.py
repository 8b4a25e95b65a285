"""Token buckets by name: how often something may happen, in a bounded amount of memory.

A bucket is one number, the instant at which it will be full again (the "theoretical arrival time" of GCRA, ITU-T
I.371). One that is full says nothing that a new one would not say, so only such are forgotten: to be pushed out of the
table never gains anybody a fresh bucket. While the table has no room, names that are not in it share one bucket.
"""

from __future__ import annotations

from collections import OrderedDict

BURST_SECONDS = 1.0  # what a bucket holds, in seconds of its rate
MAX_BUCKETS = 10_000


class Buckets:
    """One bucket for each name, all of the same rate (per second) and of at least one token."""

    def __init__(self, rate: float, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._interval = 1.0 / rate
        self._depth = max(BURST_SECONDS, self._interval)
        self._max_buckets = max_buckets
        # By name, the one that was used last at the end: from the front on, buckets become full in about this order.
        self._full_at: OrderedDict[str | None, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, now: float) -> float:
        """Take one token: 0.0, or in how many seconds there will be one. `now` is monotonic."""
        held = self._bucket_of(name, now)
        full_at = max(self._full_at.get(held, now), now) + self._interval
        wait = full_at - now - self._depth
        if wait > 1e-9:
            return wait
        self._full_at[held] = full_at
        self._full_at.move_to_end(held)
        return 0.0

    def _bucket_of(self, name: str, now: float) -> str | None:
        """The name of the bucket to use; None is the shared one."""
        if name in self._full_at:
            return name
        while self._full_at and next(iter(self._full_at.values())) <= now:
            self._full_at.popitem(last=False)
        return name if len(self._full_at) < self._max_buckets else None
