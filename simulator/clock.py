"""The simulator's clocks: the wall clock for times in records, the monotonic clock for pace.

They come from outside so that a test can choose the time. Nothing else in this folder reads a
clock.
"""

from __future__ import annotations

import time
from typing import Protocol


class SimulatorClock(Protocol):
    """Two readings in seconds: `wall` since the Unix epoch, `monotonic` since any instant."""

    def wall(self) -> float: ...

    def monotonic(self) -> float: ...


class MachineClock:
    """This machine's clocks."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
