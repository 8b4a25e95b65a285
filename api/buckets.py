"""Token buckets by name: limits of rates, in a bounded amount of memory.

A bucket is one number: the instant at which it will be full again (the "theoretical arrival time"
of GCRA, ITU-T I.371). A full bucket equals a new one, so only full ones are forgotten. Therefore no
name gains a fresh bucket by leaving the table. While the table has no room, names that are not in
it share one bucket.
"""

from __future__ import annotations

from collections import OrderedDict

BURST_SECONDS = 1.0  # a bucket's capacity, in seconds of its rate
MAX_BUCKETS = 10_000


class RateBuckets:
    """One bucket for each name, with the same rate (per second) and room for a token or more."""

    def __init__(self, rate: float, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._interval = 1.0 / rate
        self._depth = max(BURST_SECONDS, self._interval)
        self._max_buckets = max_buckets
        # In order of last use, the latest at the end. Buckets become full in about this order.
        self._full_at: OrderedDict[str | None, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, now: float) -> float:
        """Take one token and return 0.0, or return in how many seconds there will be one.

        `now` is monotonic, in seconds.
        """
        held = self._bucket_of(name, now)
        full_at = max(self._full_at.get(held, now), now) + self._interval
        wait = full_at - now - self._depth
        if wait > 1e-9:
            return wait
        self._full_at[held] = full_at
        self._full_at.move_to_end(held)
        return 0.0

    def _bucket_of(self, name: str, now: float) -> str | None:
        """Return the name of the bucket to use; None for the shared one."""
        if name in self._full_at:
            return name
        while self._full_at and next(iter(self._full_at.values())) <= now:
            self._full_at.popitem(last=False)
        return name if len(self._full_at) < self._max_buckets else None
