"""The rate of wrong keys from one address: in headers, and in the form of the sign-in page.

Owns the count, and the limit that both share. It must never refuse a right key: behind one address
there may be a whole office.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from api.buckets import RateBuckets
from api.problem_types import RATE_LIMITED
from api.problems import Problem

if TYPE_CHECKING:
    from api.traffic import HttpTraffic

LIMIT = "wrong_keys"


class WrongKeys:
    """Counts wrong keys by address. `rate` is that of one address, per second."""

    def __init__(self, traffic: HttpTraffic, rate: float) -> None:
        self._traffic = traffic
        self._buckets = RateBuckets(rate)

    def count(self, address: str) -> None:
        """Count a wrong key from an address (its counting name).

        Raises Problem 429 beyond the rate.
        """
        self._traffic.wrong_keys += 1
        wait = self._buckets.take(address, trio.current_time())
        if wait:
            self._traffic.rate_limited += 1
            self._traffic.refused[LIMIT] += 1
            detail = "Too many wrong keys came from this address: wait, then send the right one."
            raise Problem(RATE_LIMITED, detail, retry_after_seconds=wait)
